package dialplan

// premiumRanges are ranges of the supported home countries where the callee
// sets the price. They apply from everywhere: from abroad they are closed or
// dear.
var premiumRanges = []Risk{
	{Prefix: "+6119", Reason: "Australian premium rate (190x, 19xx)", Source: byACMA},
	{Prefix: "+6114", Reason: "Australian satellite and data services (014x)", Source: byACMA},
	{Prefix: "+6490", Reason: "New Zealand premium rate (0900)", Source: byNAD},
	{Prefix: "+449", Reason: "United Kingdom premium rate (09)", Source: byOfcom},
	{Prefix: "+4470", Reason: "United Kingdom personal numbers (070), charged like premium rate", Source: byOfcom},
	{Prefix: "+44871", Reason: "United Kingdom premium rate (0871)", Source: byOfcom},
	{Prefix: "+44872", Reason: "United Kingdom premium rate (0872)", Source: byOfcom},
	{Prefix: "+44873", Reason: "United Kingdom premium rate (0873)", Source: byOfcom},
	{Prefix: "+1900", Reason: "North American premium rate (900)", Source: byNANPASvc},
	{Prefix: "+49900", Reason: "German premium rate (0900)", Source: byBNetzA},
	{Prefix: "+49137", Reason: "German mass-calling service (0137)", Source: byBNetzA},
	{Prefix: "+49190", Reason: "German premium rate (0190, closed)", Source: byBNetzA},
	{Prefix: "+49118", Reason: "German directory services (118), which connect onwards", Source: byBNetzA},
	{Prefix: "+34803", Reason: "Spanish premium rate (803)", Source: byCNMC},
	{Prefix: "+34806", Reason: "Spanish premium rate (806)", Source: byCNMC},
	{Prefix: "+34807", Reason: "Spanish premium rate (807)", Source: byCNMC},
	{Prefix: "+34905", Reason: "Spanish mass-calling service (905)", Source: byCNMC},
	{Prefix: "+34907", Reason: "Spanish premium data (907)", Source: byCNMC},
	{Prefix: "+34118", Reason: "Spanish directory services (118), which connect onwards", Source: byCNMC},
	{Prefix: "+3381", Reason: "French shared-cost services (081)", Source: byARCEP},
	{Prefix: "+3382", Reason: "French surcharged services (082)", Source: byARCEP},
	{Prefix: "+3389", Reason: "French premium rate (089)", Source: byARCEP},
}

// pagers are the United Kingdom's 076, out of which 07624 is the Isle of Man's
// mobile numbers.
var pagers = prefixed("+4476", "0 1 3 4 5 6 7 8 9 20 21 22 23 25 26 27 28 29", "United Kingdom pagers (076)", byOfcom)

// globalServices are codes that belong to no country.
var globalServices = []Risk{
	{Prefix: "+808", Reason: "international shared cost", Source: byITU},
	{Prefix: "+870", Reason: "Inmarsat satellite", Source: byITU},
	{Prefix: "+878", Reason: "universal personal numbers", Source: byITU},
	{Prefix: "+881", Reason: "global satellite networks", Source: byITU},
	{Prefix: "+882", Reason: "international networks, among them satellites", Source: byITU},
	{Prefix: "+883", Reason: "international networks", Source: byITU},
	{Prefix: "+888", Reason: "disaster relief code, given back", Source: byITU},
	{Prefix: "+979", Reason: "international premium rate", Source: byITU},
	{Prefix: "+991", Reason: "international trial code", Source: byITU},
}

// fraudCountries are the countries that public sources name for revenue-share
// fraud, PBX fraud or one-ring fraud.
var fraudCountries = []Risk{
	{Prefix: "+213", Reason: "Algeria", Source: byUse},
	{Prefix: "+216", Reason: "Tunisia", Source: byNamibia},
	{Prefix: "+218", Reason: "Libya", Source: byIntegra},
	{Prefix: "+220", Reason: "Gambia", Source: byCox},
	{Prefix: "+221", Reason: "Senegal", Source: byIntegra},
	{Prefix: "+222", Reason: "Mauritania", Source: byFTC},
	{Prefix: "+223", Reason: "Mali", Source: byINACOM},
	{Prefix: "+224", Reason: "Guinea", Source: byIntegra},
	{Prefix: "+225", Reason: "Ivory Coast", Source: byIntegra},
	{Prefix: "+226", Reason: "Burkina Faso", Source: byNamibia},
	{Prefix: "+231", Reason: "Liberia", Source: byINACOM},
	{Prefix: "+232", Reason: "Sierra Leone", Source: byIntegra},
	{Prefix: "+235", Reason: "Chad", Source: byQuickHea},
	{Prefix: "+236", Reason: "Central African Republic", Source: byCox},
	{Prefix: "+239", Reason: "São Tomé and Príncipe", Source: byIntegra},
	{Prefix: "+242", Reason: "Congo", Source: byIntegra},
	{Prefix: "+243", Reason: "Democratic Republic of the Congo", Source: byQuickHea},
	{Prefix: "+244", Reason: "Angola", Source: byNamibia},
	{Prefix: "+246", Reason: "Diego Garcia", Source: byUse},
	{Prefix: "+247", Reason: "Ascension", Source: byUse},
	{Prefix: "+248", Reason: "Seychelles", Source: byCox},
	{Prefix: "+252", Reason: "Somalia", Source: byIntegra},
	{Prefix: "+253", Reason: "Djibouti", Source: byIntegra},
	{Prefix: "+256", Reason: "Uganda", Source: byNamibia},
	{Prefix: "+257", Reason: "Burundi", Source: byNamibia},
	{Prefix: "+261", Reason: "Madagascar", Source: byMyNews},
	{Prefix: "+263", Reason: "Zimbabwe", Source: byIntegra},
	{Prefix: "+269", Reason: "Comoros", Source: byTelcheck},
	{Prefix: "+290", Reason: "Saint Helena and Tristan da Cunha", Source: byUse},
	{Prefix: "+291", Reason: "Eritrea", Source: byIntegra},
	{Prefix: "+355", Reason: "Albania", Source: byNamibia},
	{Prefix: "+370", Reason: "Lithuania", Source: byCommsrsk},
	{Prefix: "+371", Reason: "Latvia", Source: byIntegra},
	{Prefix: "+373", Reason: "Moldova", Source: byWangiri},
	{Prefix: "+375", Reason: "Belarus", Source: byMyNews},
	{Prefix: "+377", Reason: "Monaco", Source: byIntegra},
	{Prefix: "+387", Reason: "Bosnia and Herzegovina", Source: byNamibia},
	{Prefix: "+389", Reason: "North Macedonia", Source: byIntegra},
	{Prefix: "+500", Reason: "Falkland Islands", Source: byUse},
	{Prefix: "+509", Reason: "Haiti", Source: byTelcheck},
	{Prefix: "+53", Reason: "Cuba", Source: byIntegra},
	{Prefix: "+592", Reason: "Guyana", Source: byNamibia},
	{Prefix: "+670", Reason: "East Timor", Source: byUse},
	{Prefix: "+672", Reason: "Norfolk Island and Antarctica", Source: byComReg},
	{Prefix: "+674", Reason: "Nauru", Source: byComReg},
	{Prefix: "+675", Reason: "Papua New Guinea", Source: byNamibia},
	{Prefix: "+677", Reason: "Solomon Islands", Source: byComReg},
	{Prefix: "+678", Reason: "Vanuatu", Source: bySriLanka},
	{Prefix: "+681", Reason: "Wallis and Futuna", Source: byComReg},
	{Prefix: "+682", Reason: "Cook Islands", Source: byComReg},
	{Prefix: "+683", Reason: "Niue", Source: byUse},
	{Prefix: "+685", Reason: "Samoa", Source: bySriLanka},
	{Prefix: "+686", Reason: "Kiribati", Source: byComReg},
	{Prefix: "+688", Reason: "Tuvalu", Source: byComReg},
	{Prefix: "+690", Reason: "Tokelau", Source: byComReg},
	{Prefix: "+850", Reason: "North Korea", Source: byIntegra},
	{Prefix: "+960", Reason: "Maldives", Source: byCox},
	{Prefix: "+970", Reason: "Palestinian territories", Source: byUse},
	{Prefix: "+994", Reason: "Azerbaijan", Source: byIntegra},
}

// fraudAreas are parts of the North American plan that the FCC and the FTC name
// for one-ring fraud. They apply from everywhere.
var fraudAreas = prefixed("+1", "268 284 473 649 664 767 809 829 849 876", "a Caribbean area code used for one-ring fraud", byFTC)
