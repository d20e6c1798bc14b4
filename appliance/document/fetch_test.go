package document

import (
	"strings"
	"testing"
	"time"
)

func TestFeedURL(t *testing.T) {
	for text, want := range map[string]string{
		"https://lists.example.net/drop.txt":                          "",
		"https://lists.example.net:8443/a/b.php?time=1&x=%20":         "",
		"https://192.0.2.1/":                                          "",
		"https://[2001:db8::1]:443/x":                                 "",
		"https://a.example/" + strings.Repeat("x", maxURL-18):         "",
		"https://a.example/" + strings.Repeat("x", maxURL-17):         "longer than 500 characters",
		"http://lists.example.net/x":                                  "over https alone",
		"HTTPS://lists.example.net/x":                                 "over https alone",
		"file:///etc/shadow":                                          "over https alone",
		"lists.example.net/x":                                         "over https alone",
		"https:lists.example.net/x":                                   "over https alone",
		"https://me:secret@lists.example.net/x":                       "names a user",
		"https://@lists.example.net/x":                                "names a user",
		"https://lists.example.net@evil.example/x":                    "names a user",
		"https://lists.example.net/x#part":                            "a fragment",
		"https://lists.example.net/x#":                                "a fragment",
		"https://lists.example.net":                                   "no path",
		"https://lists.example.net?x":                                 "no path",
		"https:///x":                                                  "the host is neither",
		"https://localhost/x":                                         "the host is neither",
		"https://Lists.example.net/x":                                 "the host is neither",
		"https://lists.example.net:/x":                                "the host is neither",
		"https://lists.example.net:0/x":                               "the host is neither",
		"https://lists.example.net:70000/x":                           "the host is neither",
		"https://2130706433/x":                                        "the host is neither",
		"https://127.1/x":                                             "the host is neither",
		"https://[fe80::1%25eth0]/x":                                  "the host is neither",
		"https://lists.example.net/a b":                               "not a URL",
		"https://lists.example.net/\n":                                "not a URL",
		"https://lists.example.net/%zz":                               "not a URL",
		"https://lists.example.net/\u202e":                            "not a URL",
		"https://bücher.example/x":                                    "not a URL",
		"https://lists.example.net/x\\y":                              "not a URL",
		"https://[2001:db8::1/x":                                      "not a URL",
		"https://lists.example.net:8443:9/x":                          "not a URL",
		"https://lists.example.net/x?a=\"":                            "not a URL",
		"https://xn--bcher-kva.example/x":                             "",
		"https://lists.example.net/x?next=http://10.0.0.1/&y=a@b.net": "",
	} {
		var m Mistakes
		got := m.Feeds("feeds", []RawFeed{{Name: "a", Format: "cidr", URL: text}})
		err := m.Err()
		if want == "" && (err != nil || got[0].URL != text || got[0].Every != 24*time.Hour) {
			t.Errorf("%s: got %+v, %v", text, got, err)
		}
		if want != "" && (err == nil || !strings.HasPrefix(err.Error(), "feeds[0].url: ") || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

func TestFeedEvery(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": 24 * time.Hour, "1h": time.Hour, "168h": 168 * time.Hour,
		"0h": -1, "169h": -1, "-1h": -1, "+1h": -1, "01h": -1, "1": -1, "h": -1, "1h0m": -1, "90m": -1, "1.5h": -1, "1d": -1, "1H": -1, " 1h": -1, "1hh": -1,
	} {
		var m Mistakes
		got := m.Feeds("feeds", []RawFeed{{Name: "a", Format: "cidr", URL: "https://a.example/", Every: text}})
		if err := m.Err(); want < 0 && (err == nil || !strings.HasPrefix(err.Error(), "feeds[0].every: want whole hours")) {
			t.Errorf("%q: got %v", text, err)
		} else if want >= 0 && (err != nil || got[0].Every != want) {
			t.Errorf("%q: got %v, %v", text, got[0].Every, err)
		}
	}
}

func TestPagesAreNotFetched(t *testing.T) {
	var m Mistakes
	m.Feeds("feeds", []RawFeed{{Name: "a", Format: "apiban", URL: "https://apiban.example/api/x/banned"}})
	if err := m.Err(); err == nil || !strings.HasPrefix(err.Error(), "feeds[0].url: the list of apiban comes in pages") {
		t.Errorf("got %v", err)
	}
}

// TestFeedsByHandAreWrittenAsBefore keeps the revisions of documents that name
// no url.
func TestFeedsByHandAreWrittenAsBefore(t *testing.T) {
	got := string(Write(RawFeeds([]Feed{{Name: "a", Format: "cidr"}})))
	if strings.Contains(got, "url") || strings.Contains(got, "every") {
		t.Errorf("got %s", got)
	}
}
