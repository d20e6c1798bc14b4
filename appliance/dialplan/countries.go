package dialplan

// countries are the numbering plans of the supported home countries. Each plan
// names its source; the ITU documents are those of "National Numbering Plans"
// (ITU-T E.129).
var countries = []country{
	// Australia. ACMA, Telecommunications Numbering Plan 2025, schedules on
	// geographic, mobile, freephone, premium and access-code numbers.
	{
		code: "AU", cc: "61",
		international: []string{"0011", "0014", "0015", "0016", "0017", "0018", "0019"},
		trunk:         []string{"0"},
		national:      []shape{{heads: "2 3 4 5 7 8", min: 9, max: 9}, {heads: "14 16", min: 9, max: 9}},
		open: []shape{
			{heads: "13", min: 6, max: 6, except: "1300"},
			{heads: "1300 1800", min: 10, max: 10},
			{heads: "180", min: 7, max: 7, except: "1800"},
			{heads: "190", min: 10, max: 10},
			{heads: "19", min: 6, max: 8, except: "190"},
		},
		local: []shape{{heads: "N", min: 8, max: 8}},
		strips: []strip{
			{"1831", 4, "caller identity off 1831", true},
			{"1832", 4, "caller identity on 1832", true},
			{"14XX", 4, "carrier override 14xx", false},
		},
		short: []short{
			{shape{heads: "1221 1222 1223 1225", min: 4, max: 4}, ClassNational, "directory assistance"},
			{shape{heads: "127", min: 5, max: 8}, ClassNational, "line test"},
			{shape{heads: "1100", min: 4, max: 4}, ClassNational, "Before You Dig"},
			{shape{heads: "101 121", min: 3, max: 3}, ClassNational, "the carrier's own service"},
			{shape{heads: "1194 1196", min: 4, max: 4}, ClassNational, "time or weather"},
			{shape{heads: "12", min: 4, max: 8, except: "1221 1222 1223 1225 127"}, ClassPremium, "connection service 12xx"},
			{shape{heads: "0055", min: 8, max: 10}, ClassPremium, "premium rate 0055"},
		},
		emergency: []string{"000", "112", "106"},
		premium:   shape{heads: "19 14", max: maxDialled},
	},
	// New Zealand. Numbering Administration Deed (NAD), number register.
	{
		code: "NZ", cc: "64",
		international: []string{"00", "0161"},
		trunk:         []string{"0"},
		national: []shape{
			{heads: "3 4 6 7 9", min: 8, max: 8},
			{heads: "2", min: 8, max: 10},
			{heads: "8 508", min: 8, max: 11},
			{heads: "90", min: 7, max: 10},
			{heads: "70", min: 8, max: 9},
		},
		local: []shape{{heads: "N", min: 7, max: 7}},
		strips: []strip{
			{"0197", 4, "caller identity off 0197", true},
			{"0196", 4, "caller identity on 0196", true},
		},
		short: []short{
			{shape{heads: "105", min: 3, max: 3}, ClassNational, "police, not urgent"},
			{shape{heads: "12", min: 3, max: 3}, ClassNational, "the carrier's own service"},
			{shape{heads: "1737", min: 4, max: 4}, ClassNational, "helpline"},
			{shape{heads: "018", min: 3, max: 3}, ClassPremium, "directory service 018"},
			{shape{heads: "0172", min: 4, max: 4}, ClassPremium, "directory service 0172"},
		},
		emergency: []string{"111", "112"},
		premium:   shape{heads: "90", max: maxDialled},
		// The Cook Islands, Niue and Samoa.
		neighbours: "+682 +683 +685",
	},
	// United Kingdom. Ofcom, The National Telephone Numbering Plan. 07624 are the
	// Isle of Man's mobiles, inside the pagers' 076; 18000 is the emergency number
	// for text telephones; no area code begins with 010, 0110, 0111, 0112 or 0119.
	{
		code: "GB", cc: "44",
		international: []string{"00"},
		trunk:         []string{"0"},
		national: []shape{
			{heads: "1", min: 9, max: 10, except: "10 110 111 112 119"},
			{heads: "2 3 5 7 8 9", min: 10, max: 10},
			{heads: "800", min: 9, max: 9},
			{heads: "8001111 845464X", min: 7, max: 7},
		},
		local: []shape{{heads: "N", min: 4, max: 8}},
		strips: []strip{
			{"141", 3, "caller identity off 141", true},
			{"1470", 4, "caller identity on 1470", true},
			{"18001", 5, "text relay 18001", true},
			{"18002", 5, "text relay 18002", true},
			{"1XXX0", 4, "carrier's access code 1xxx", false},
			{"1XXXX0", 5, "carrier's access code 1xxxx", false},
		},
		short: []short{
			{shape{heads: "101", min: 3, max: 3}, ClassNational, "police, not urgent"},
			{shape{heads: "105", min: 3, max: 3}, ClassNational, "power cut"},
			{shape{heads: "111 119", min: 3, max: 3}, ClassNational, "health service"},
			{shape{heads: "116", min: 6, max: 6}, ClassNational, "helpline of social value"},
			{shape{heads: "123", min: 3, max: 3}, ClassNational, "speaking clock"},
			{shape{heads: "150 151 152", min: 3, max: 3}, ClassNational, "the carrier's own service"},
			{shape{heads: "147 157", min: 4, max: 4}, ClassNational, "the carrier's own service"},
			{shape{heads: "195", min: 3, max: 3}, ClassNational, "directory for the blind"},
			{shape{heads: "17070", min: 5, max: 5}, ClassNational, "line test"},
			{shape{heads: "159", min: 3, max: 3}, ClassNational, "bank"},
			{shape{heads: "118", min: 6, max: 6}, ClassPremium, "directory service 118"},
		},
		emergency: []string{"999", "112", "18000"},
		premium:   shape{heads: "9 70 76 871 872 873", max: maxDialled, except: "7624"},
	},
	// United States and Canada. NANPA, planning letters and code tables; CNAC
	// for Canada. 988 is a crisis line and no emergency service, but a call that
	// must never meet a rule: it passes like one.
	{
		code: "US", cc: "1",
		international: []string{"011", "01"},
		trunk:         []string{"1", "0"},
		national:      northAmericanTrunk, open: northAmerican, local: northAmericanLocal,
		strips: northAmericanStrips, short: northAmericanShort,
		emergency: []string{"911", "988"},
		premium:   northAmericanPremium,
		abroad:    func(nsn string) bool { return beginsWithAny(nsn, canadian) || beginsWithAny(nsn, overseas) },
	},
	{
		code: "CA", cc: "1",
		international: []string{"011", "01"},
		trunk:         []string{"1", "0"},
		national:      northAmericanTrunk, open: northAmerican, local: northAmericanLocal,
		strips: northAmericanStrips, short: northAmericanShort,
		emergency: []string{"911", "988"},
		premium:   northAmericanPremium,
		abroad: func(nsn string) bool {
			return !beginsWithAny(nsn, canadian) && !beginsWithAny(nsn, tollFree) && !beginsWithAny(nsn, "900")
		},
	},
	// Germany. BNetzA, Nummernplan and the list of Rufnummernräume. Numbers have
	// no fixed length.
	{
		code: "DE", cc: "49",
		international: []string{"00"},
		trunk:         []string{"0"},
		national: []shape{
			{heads: "N", min: 4, max: 13},
			{heads: "15 16 17", min: 9, max: 13},
			{heads: "12 13 18 19", min: 4, max: 13},
		},
		local: []shape{{heads: "N", min: 3, max: 9}}, // new numbers have 11 digits with their area code
		strips: []strip{
			{"0100XX", 6, "call by call 0100xx", false},
			{"010XX", 5, "call by call 010xx", false},
		},
		short: []short{
			{shape{heads: "115", min: 3, max: 3}, ClassNational, "public administration"},
			{shape{heads: "116", min: 6, max: 6}, ClassNational, "helpline of social value"},
			{shape{heads: "19222", min: 5, max: 5}, ClassNational, "patient transport"},
			{shape{heads: "0310 0311", min: 4, max: 4}, ClassNational, "line test"},
			{shape{heads: "118", min: 5, max: 6}, ClassPremium, "directory service 118"},
		},
		emergency: []string{"112", "110"},
		premium:   shape{heads: "900 137 190 118", max: maxDialled},
	},
	// Spain. CNMC and the Plan Nacional de Numeración Telefónica (Real Decreto
	// 2296/2004). There is no trunk prefix. 085 and 088 are regional police and
	// fire services.
	{
		code: "ES", cc: "34",
		international: []string{"00"},
		open:          []shape{{heads: "51 6 7 8 9", min: 9, max: 9}},
		strips: []strip{
			{"067", 3, "caller identity off 067", true},
			{"10XX", 4, "carrier's code 10xx", false},
			{"10XXX", 5, "carrier's code 10xxx", false},
		},
		short: []short{
			{shape{heads: "010 011 012 060", min: 3, max: 3}, ClassNational, "public administration"},
			{shape{heads: "1", min: 4, max: 4, except: "112 118"}, ClassNational, "the carrier's own service"},
			{shape{heads: "22 23", min: 4, max: 5}, ClassNational, "the carrier's own service"},
			{shape{heads: "016 017 024", min: 3, max: 3}, ClassNational, "helpline"},
			{shape{heads: "116", min: 6, max: 6}, ClassNational, "helpline of social value"},
			{shape{heads: "118", min: 5, max: 5}, ClassPremium, "directory service 118"},
		},
		emergency: []string{"112", "091", "092", "061", "062", "080", "085", "088"},
		premium:   shape{heads: "803 806 807 905 907 118", max: maxDialled},
	},
	// France. ARCEP, plan national de numérotation (décision 2018-0881 and its
	// amendments). 3xxx and 10xx are four digits long, 118xxx and 116xxx six. Of
	// the 3xxx, those of public bodies, the post and Orange's own cost no more than
	// a call. The emergency numbers are ARCEP's list.
	{
		code: "FR", cc: "33",
		international: []string{"00"},
		trunk:         []string{"0"},
		national:      []shape{{heads: "Z", min: 9, max: 9}},
		strips: []strip{
			{"3651", 4, "caller identity off 3651", true},
			{"16XX0", 4, "carrier's code 16xx", false},
		},
		short: []short{
			{shape{heads: "30 31", min: 4, max: 4}, ClassNational, "free service 30xx or 31xx"},
			{shape{heads: unsurcharged, min: 4, max: 4}, ClassNational, "public service"},
			{shape{heads: "10", min: 4, max: 4}, ClassNational, "the carrier's own service"},
			{shape{heads: "116", min: 6, max: 6}, ClassNational, "helpline of social value"},
			{shape{heads: "3", min: 4, max: 4, except: "30 31 " + unsurcharged}, ClassPremium, "value-added service 3xxx"},
			{shape{heads: "118", min: 6, max: 6}, ClassPremium, "directory service 118"},
		},
		emergency: []string{"15", "17", "18", "112", "114", "115", "116000", "116117", "119", "191", "196", "197"},
		premium:   shape{heads: "81 82 89", max: maxDialled},
		// Monaco.
		neighbours: "+377",
	},
}

const unsurcharged = "3230 3631 3646 3651 3900 3919 3939 3949 3957 3960 3977 3995"

// northAmerican is NXX NXX XXXX (NANPA): an area code has no 9 in the middle,
// is no N11 code and not one of those kept for expansion (37X, 96X).
var northAmerican = []shape{
	{heads: "NXXNXX", min: 10, max: 10, except: "N9X N11 37X 96X"},
}

// northAmericanTrunk adds freephone words that are too long, such as
// 1-800-MATTRESS: exchanges drop the rest.
var northAmericanTrunk = append([]shape{{heads: tollFree, min: 11, max: 14}}, northAmerican...)

var northAmericanLocal = []shape{{heads: "NXX", min: 7, max: 7, except: "N11 950 976"}}

var northAmericanStrips = []strip{
	{"101XXXX", 7, "dial-around 101xxxx", false},
	{"11NX", 4, "rotary service code 11xx", true},
}

var northAmericanShort = []short{
	{shape{heads: "211 311 411 511 611 711 811", min: 3, max: 3}, ClassNational, "service code"},
	{shape{heads: "933", min: 3, max: 3}, ClassNational, "emergency address check"},
	{shape{heads: "976", min: 7, max: 7}, ClassPremium, "pay-per-call exchange 976"},
}

var northAmericanPremium = shape{heads: "900 NXX976", max: maxDialled}

// tollFree area codes belong to no country of the NANP.
const tollFree = "800 833 844 855 866 877 888"

// canadian are Canada's area codes (CNAC, Canadian NPA relief planning), with
// those that are reserved for it.
const canadian = "204 226 236 249 250 257 263 289 306 343 354 365 367 368 382 387 403 416 418 428 431 437 438 450 460 468 474 " +
	"506 514 519 537 548 568 579 581 584 587 600 604 613 622 639 647 672 683 705 709 742 753 778 780 782 807 819 825 851 867 873 879 902 905 942"

// overseas are the NANP's area codes outside of the United States and Canada
// (NANPA, NPA report: countries and territories).
const overseas = "242 246 264 268 284 345 441 473 649 658 664 721 758 767 784 809 829 849 868 869 876"
