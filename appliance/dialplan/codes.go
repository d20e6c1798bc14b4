package dialplan

// countryCodes are the country codes that ITU-T has assigned, by their length.
// Source: List of ITU-T Recommendation E.164 assigned country codes, with its
// amendments in the ITU Operational Bulletin. Codes that are spare, reserved or
// given back (such as the Inmarsat ocean codes 871 to 874) are left out: no
// network carries them.
var countryCodes = map[int][]string{
	1: {"1", "7"},
	2: {
		"20", "27", "30", "31", "32", "33", "34", "36", "39", "40", "41", "43", "44", "45", "46", "47", "48", "49",
		"51", "52", "53", "54", "55", "56", "57", "58", "60", "61", "62", "63", "64", "65", "66",
		"81", "82", "84", "86", "90", "91", "92", "93", "94", "95", "98",
	},
	3: {
		"211", "212", "213", "216", "218",
		"220", "221", "222", "223", "224", "225", "226", "227", "228", "229",
		"230", "231", "232", "233", "234", "235", "236", "237", "238", "239",
		"240", "241", "242", "243", "244", "245", "246", "247", "248", "249",
		"250", "251", "252", "253", "254", "255", "256", "257", "258",
		"260", "261", "262", "263", "264", "265", "266", "267", "268", "269",
		"290", "291", "297", "298", "299",
		"350", "351", "352", "353", "354", "355", "356", "357", "358", "359",
		"370", "371", "372", "373", "374", "375", "376", "377", "378", "379",
		"380", "381", "382", "383", "385", "386", "387", "389",
		"420", "421", "423",
		"500", "501", "502", "503", "504", "505", "506", "507", "508", "509",
		"590", "591", "592", "593", "594", "595", "596", "597", "598", "599",
		"670", "672", "673", "674", "675", "676", "677", "678", "679",
		"680", "681", "682", "683", "685", "686", "687", "688", "689",
		"690", "691", "692",
		"800", "808", "850", "852", "853", "855", "856", "870", "878",
		"880", "881", "882", "883", "886", "888",
		"960", "961", "962", "963", "964", "965", "966", "967", "968",
		"970", "971", "972", "973", "974", "975", "976", "977", "979",
		"991", "992", "993", "994", "995", "996", "998",
	},
}

// codeLength holds, for every three digits, how many of them are a country
// code; 0 where none is.
var codeLength = func() (out [1000]uint8) {
	for length, codes := range countryCodes {
		for _, code := range codes {
			first, count := 0, 1
			for i := range 3 {
				if i < length {
					first = first*10 + int(code[i]-'0')
				} else {
					first, count = first*10, count*10
				}
			}
			for i := range count {
				out[first+i] = uint8(length)
			}
		}
	}
	return out
}()

// countryCode returns the country code that digits begin with, or "" where
// there is none or too few digits to tell.
func countryCode(digits string) string {
	index, place := 0, 100
	for i := 0; i < 3 && i < len(digits); i++ {
		if !isDigit(digits[i]) {
			return ""
		}
		index += int(digits[i]-'0') * place
		place /= 10
	}
	length := int(codeLength[index])
	if length == 0 || length > len(digits) {
		return ""
	}
	return digits[:length]
}
