package control

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
	"github.com/ringfence/ringfence/appliance/fetch"
	"github.com/ringfence/ringfence/appliance/policy"
)

func description(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(api.Description)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(context.Background()); err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestEveryRouteIsDescribed(t *testing.T) {
	doc, b := description(t), newBox(t, t.TempDir())
	var served, described []string
	for _, one := range b.server().routes() {
		served = append(served, one.method+" "+one.path)
		operation := doc.Paths.Value(one.path).GetOperation(one.method)
		if operation == nil {
			continue // the lists below differ
		}
		var query []string
		for _, parameter := range operation.Parameters {
			if parameter.Value.In == openapi3.ParameterInQuery {
				query = append(query, parameter.Value.Name)
			}
		}
		if strings.Join(slices.Sorted(slices.Values(query)), " ") != strings.Join(slices.Sorted(slices.Values(one.query)), " ") {
			t.Errorf("%s %s takes %v and describes %v", one.method, one.path, one.query, query)
		}
	}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			described = append(described, method+" "+path)
		}
	}
	slices.Sort(served)
	slices.Sort(described)
	if !slices.Equal(served, described) {
		t.Fatalf("served:    %v\ndescribed: %v", served, described)
	}
}

// TestAnswersMatchTheDescription asks every route for real, rightly and
// wrongly, and holds each answer against openapi.yaml.
func TestAnswersMatchTheDescription(t *testing.T) {
	doc, b := description(t), newBox(t, t.TempDir())
	b.queue.Report(appliance.Event{Kind: appliance.EventCall, Call: &appliance.Call{
		ID: "abcdefgh", CallID: "kept", Start: noon, Answer: noon, End: noon, Direction: appliance.Outbound, Verdict: appliance.Block, Reason: appliance.ReasonHighRisk,
		Tries: 2, Attempt: "abcdefgi", Trail: &appliance.Trail{Generation: "x", Candidates: []appliance.Weighed{{Number: "+252", Via: []string{"a"}, Reason: appliance.ReasonHighRisk}}}}})
	b.queue.Report(appliance.Event{Kind: appliance.EventCall, Call: &appliance.Call{
		ID: "abzzzzzz", Start: noon, Direction: appliance.Inbound, Verdict: appliance.Allow, Reason: appliance.ReasonInbound}})
	b.queue.Report(appliance.Event{Time: noon, Kind: appliance.EventRefusal, Reason: appliance.ReasonUnknownDialog, Message: "x"})
	b.Flush()
	b.Sample(appliance.Drop{Time: noon, Interface: "wan", Protocol: "udp", Reason: appliance.ReasonSIPSource})
	older := policy.Builtin()
	older.Serial = 9
	b.mustOffer(older)
	older.Serial = 8
	p := newPublisher(t)
	b.web.Web = fetch.New(p.config)
	p.answer = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/broken" {
			w.WriteHeader(http.StatusInternalServerError)
		}
		fmt.Fprintln(w, "192.0.2.0/24")
	}
	asked := map[string]bool{}
	for _, tc := range []struct {
		method, target, body string
		status               int
	}{
		{"GET", "/status", "", 200},
		{"GET", "/status?x=1", "", 400},
		{"GET", "/calls", "", 200},
		{"GET", "/calls?verdict=block&limit=1&since=2026-01-01T00:00:00Z", "", 200},
		{"GET", "/calls?verdict=maybe&limit=x&since=now", "", 400},
		{"GET", "/calls?limit=1&limit=2", "", 400},
		{"GET", "/calls?before=2026-07-01T12:00:00Z&before_id=abzzzzzz", "", 200},
		{"GET", "/calls?before_id=abzzzzzz", "", 400},
		{"GET", "/events?before=2", "", 200},
		{"GET", "/events?before=x", "", 400},
		{"GET", "/calls/abcdefgh", "", 200},
		{"GET", "/calls/abc", "", 200},
		{"GET", "/calls/ab", "", 400},
		{"GET", "/calls/zz", "", 404},
		{"POST", "/calls/bbb/cut", `{"reason":"credit is used up"}`, 200},
		{"POST", "/calls/bbbbbbbb/cut", `{}`, 200},
		{"POST", "/calls/zz/cut", `{}`, 404},
		{"POST", "/calls/b/cut", `{}`, 400},
		{"POST", "/calls/bbb/cut", `{"reason":"\u0007"}`, 400},
		{"POST", "/calls/bbb/cut", `{"why":"x"}`, 400},
		{"POST", "/calls/bbs/cut", `{}`, 403},
		{"GET", "/cuts", "", 200},
		{"GET", "/calls?number=%2B252&account=101", "", 200},
		{"GET", "/calls?number=alice", "", 400},
		{"GET", "/calls?account=" + strings.Repeat("x", 600), "", 400},
		{"GET", "/calls/abcdefgh/messages", "", 200},
		{"GET", "/calls/abz/messages", "", 200},
		{"GET", "/calls/ab/messages", "", 400},
		{"GET", "/calls/zz/messages", "", 404},
		{"GET", "/drops", "", 200},
		{"GET", "/drops?after=1&limit=5", "", 200},
		{"GET", "/drops?after=-1", "", 400},
		{"GET", "/events", "", 200},
		{"GET", "/events?kind=refusal&after=0&limit=1&since=2026-01-01T00:00:00Z", "", 200},
		{"GET", "/events?kind=nothing", "", 400},
		{"GET", "/top", "", 200},
		{"GET", "/top?limit=1001", "", 400},
		{"POST", "/try", `{"dialled":"0011 252 61 555 0148"}`, 200},
		{"POST", "/try", `{"dialled":"000","from":"100"}`, 200},
		{"POST", "/try", `{"dialled":"000","trunk":"nobody"}`, 404},
		{"POST", "/try", `{"dialled":""}`, 400},
		{"POST", "/try", `{"dialled":1}`, 400},
		{"POST", "/try", `{"dialed":"000"}`, 400},
		{"POST", "/try", `{"dialled":"000"} {}`, 400},
		{"POST", "/try", ``, 400},
		{"POST", "/try", `{"dialled":"` + strings.Repeat("0", api.MaxBody) + `"}`, 413},
		{"GET", "/policy", "", 200},
		{"PUT", "/policy", string(policy.Encode(older)), 400},
		{"PUT", "/policy", string(policy.Encode(b.State().Policy)), 200},
		{"GET", "/settings", "", 200},
		{"PUT", "/settings", string(named("Depot")), 200},
		{"PUT", "/settings", `{}`, 400},
		{"PUT", "/settings", strings.Repeat(" ", api.MaxBody+1), 413},
		{"GET", "/allow", "", 200},
		{"POST", "/allow", `{"prefix":"+25261","reason":"a customer","until":"2026-08-01T00:00:00Z"}`, 200},
		{"GET", "/allow", "", 200},
		{"POST", "/allow", `{"prefix":"+2","reason":"x"}`, 403},
		{"POST", "/allow", `{"prefix":"x","reason":""}`, 400},
		{"DELETE", "/allow/+25261", "", 200},
		{"DELETE", "/allow/+25261", "", 404},
		{"GET", "/top?window=24h&limit=3", "", 200},
		{"GET", "/top?window=2h", "", 400},
		{"POST", "/bans", `{"source":"198.51.100.66","until":"2026-07-03T00:00:00Z","reason":"scans"}`, 200},
		{"POST", "/bans", `{"source":"2001:db8:66::1"}`, 200},
		{"POST", "/bans", `{"source":"10.0.0.1"}`, 403},
		{"POST", "/bans", `{"source":"everybody","reason":" "}`, 400},
		{"GET", "/bans", "", 200},
		{"GET", "/bans?limit=1", "", 200},
		{"GET", "/bans?limit=x", "", 400},
		{"DELETE", "/bans/198.51.100.66", "", 200},
		{"DELETE", "/bans/198.51.100.66", "", 404},
		{"DELETE", "/bans/nobody", "", 400},
		{"GET", "/accounts", "", 200},
		{"GET", "/accounts?limit=1", "", 200},
		{"GET", "/accounts?limit=x", "", 400},
		{"GET", "/accounts/101@a.example", "", 200},
		{"GET", "/accounts/102", "", 200},
		{"GET", "/accounts/101", "", 400},
		{"GET", "/accounts/nobody", "", 404},
		{"GET", "/census", "", 200},
		{"GET", "/census?limit=x", "", 400},
		{"GET", "/guard", "", 200},
		{"GET", "/guard?limit=x", "", 400},
		{"DELETE", "/guard/198.51.100.66", "", 200},
		{"DELETE", "/guard/nobody", "", 400},
		{"PUT", "/settings", string(withFeeds("own")), 200},
		{"GET", "/feeds", "", 200},
		{"PUT", "/feeds/own", "192.0.2.0/24 # test\n2001:db8:9::/48\n", 200},
		{"PUT", "/feeds/own", "192.0.2.0/24\n192.0.2.0/40\n", 400},
		{"PUT", "/feeds/other", "192.0.2.0/24\n", 404},
		{"GET", "/feeds", "", 200},
		{"POST", "/feeds/own", "", 400},
		{"POST", "/feeds/other", "", 404},
		{"PUT", "/settings", string(p.document("own", "broken")), 200},
		{"GET", "/feeds", "", 200},
		{"POST", "/feeds/own", "", 200},
		{"POST", "/feeds/own", "", 200},
		{"POST", "/feeds/broken", "", 503},
		{"GET", "/feeds", "", 200},
		{"DELETE", "/feeds/own", "", 200},
		{"DELETE", "/feeds/own", "", 404},
		{"GET", "/fraud", "", 200},
		{"POST", "/fraud/blocks", `{"subject":"extension:201","by":"Ann","why":"stolen"}`, 200},
		{"POST", "/fraud/blocks", `{"subject":"town","by":"Ann","why":"stolen"}`, 400},
		{"POST", "/fraud/blocks", `{"subject":"site","scope":"some","by":"Ann","why":"stolen"}`, 400},
		{"POST", "/fraud/blocks", `{"subject":"site","by":"","why":"stolen"}`, 400},
		{"GET", "/fraud/blocks/extension:201", "", 200},
		{"GET", "/fraud/blocks/extension:202", "", 404},
		{"GET", "/fraud/blocks/nobody", "", 400},
		{"POST", "/fraud/blocks/extension:201", `{"by":"","words":[]}`, 400},
		{"POST", "/fraud/blocks/extension:201", `{"by":"Ann","words":[]}`, 403},
		{"GET", "/fraud?limit=3", "", 200},
		{"POST", "/fraud/blocks/extension:201", `{"by":"Ann","words":[{"check":"secret-changed","why":"new"}]}`, 200},
		{"POST", "/fraud/blocks/extension:201", `{"by":"Ann","words":[]}`, 404},
		{"POST", "/fraud/replay", "start,end,direction,dialled,answer,from\n2026-07-01T03:00:00Z,2026-07-01T03:10:00Z,outbound,001144207946001,2026-07-01T03:00:01Z,201\n", 200},
		{"POST", "/fraud/replay", "start,end,direction,dialled\nnow,,outbound,1\n", 400},
		{"POST", "/releases", `{"number":"+252615550148","by":"Ann","seconds":900}`, 200},
		{"POST", "/releases", `{"call":"abcdefgh","by":"Ann","seconds":0}`, 400},
		{"POST", "/releases", `{"by":"Ann","seconds":0}`, 400},
		{"GET", "/fraud", "", 200},
		{"DELETE", "/releases/+252615550148", "", 200},
		{"DELETE", "/releases/+252615550148", "", 404},
		{"PUT", "/rates?currency=AUD", "prefix,per_minute\n44,0.02\n", 200},
		{"PUT", "/rates?currency=AUD", "prefix,per_minute\n44,x\n", 400},
		{"PUT", "/countries", "2|apnic|20260101|1|1|1|+0\napnic|AU|ipv4|203.0.113.0|256|20110811|assigned\n", 200},
		{"PUT", "/countries", "2|apnic|20260101|2|1|1|+0\n", 400},
		{"GET", "/fraud", "", 200},
		{"DELETE", "/countries/apnic", "", 200},
		{"DELETE", "/countries/apnic", "", 404},
		{"POST", "/notices/test", `{"by":"Ann"}`, 200},
		{"PUT", "/secrets/mail", `{"value":"x"}`, 200},
		{"PUT", "/secrets/other", `{"value":"x"}`, 404},
		{"GET", "/audit", "", 200},
		{"GET", "/audit?after=1&limit=2", "", 200},
		{"GET", "/evidence/abc", "", 200},
		{"GET", "/evidence/ab", "", 400},
		{"GET", "/evidence/zz", "", 404},
		{"GET", "/evidence/town:1", "", 400},
		{"GET", "/evidence/site", "", 404},
		{"GET", "/gate", "", 200},
		{"GET", "/trunks", "", 200},
		{"GET", "/trunks?limit=1", "", 400},
		{"GET", "/certificates", "", 200},
		{"POST", "/certificates/reload", "", 200},
		{"GET", "/openapi.yaml", "", 200},
	} {
		name := tc.method + " " + tc.target + " " + tc.body
		name = name[:min(len(name), 70)]
		t.Run(name, func(t *testing.T) {
			request := httptest.NewRequest(tc.method, tc.target, strings.NewReader(tc.body))
			if tc.body != "" {
				request.Header.Set("Content-Type", contentType(tc.target))
			}
			route := described(doc, request)
			if route == nil {
				t.Fatal("the route is not described")
			}
			asked[tc.method+" "+route.Path] = true
			input := &openapi3filter.RequestValidationInput{Request: request, Route: route, PathParams: pathParams(route.Path, request.URL.Path)}
			if tc.status == 200 {
				if err := openapi3filter.ValidateRequest(context.Background(), input); err != nil {
					t.Fatalf("a request that is answered is not as described: %v", err)
				}
				request.Body = http.NoBody
				if tc.body != "" {
					request = httptest.NewRequest(tc.method, tc.target, strings.NewReader(tc.body))
				}
			}
			answer := httptest.NewRecorder()
			b.server().ServeHTTP(answer, request)
			if answer.Code != tc.status {
				t.Fatalf("status %d: %s", answer.Code, answer.Body)
			}
			checked := &openapi3filter.ResponseValidationInput{RequestValidationInput: input, Status: answer.Code, Header: answer.Header()}
			checked.SetBodyBytes(answer.Body.Bytes())
			if err := openapi3filter.ValidateResponse(context.Background(), checked); err != nil {
				t.Fatalf("%v\n%s", err, answer.Body)
			}
		})
	}
	for _, one := range b.server().routes() {
		if !asked[one.method+" "+one.path] {
			t.Errorf("%s %s was never asked", one.method, one.path)
		}
	}
}

func contentType(target string) string {
	switch {
	case strings.HasPrefix(target, "/feeds/"), target == "/countries":
		return "application/octet-stream"
	case strings.HasPrefix(target, "/rates"), target == "/fraud/replay":
		return "text/csv"
	}
	return "application/json"
}

// described finds the operation of a request; no path of ours has more than one
// parameter, and that may hold slashes where it is the last segment.
func described(doc *openapi3.T, request *http.Request) *routers.Route {
	for _, path := range slices.Backward(slices.Sorted(maps.Keys(doc.Paths.Map()))) { // the longer ones first
		item := doc.Paths.Value(path)
		start, parameter, found := strings.Cut(path, "{")
		_, end, _ := strings.Cut(parameter, "}")
		same := request.URL.Path == path || found && strings.HasPrefix(request.URL.Path, start) && strings.HasSuffix(request.URL.Path, end) &&
			len(request.URL.Path) > len(start)+len(end)
		if operation := item.GetOperation(request.Method); same && operation != nil {
			return &routers.Route{Spec: doc, Path: path, PathItem: item, Method: request.Method, Operation: operation}
		}
	}
	return nil
}

func pathParams(path, target string) map[string]string {
	start, rest, found := strings.Cut(path, "{")
	if !found {
		return nil
	}
	parameter, end, _ := strings.Cut(rest, "}")
	return map[string]string{parameter: strings.TrimSuffix(strings.TrimPrefix(target, start), end)}
}

func TestUnavailableIsDescribed(t *testing.T) {
	b := newBox(t, t.TempDir())
	b.gate.refuse = errNo
	for _, target := range []string{"/drops", "/top", "/gate"} {
		answer := httptest.NewRecorder()
		b.server().ServeHTTP(answer, httptest.NewRequest("GET", target, nil))
		if answer.Code != 503 || !bytes.Contains(answer.Body.Bytes(), []byte(`"unavailable"`)) {
			t.Errorf("%s: %d %s", target, answer.Code, answer.Body)
		}
	}
}

func TestNowhere(t *testing.T) {
	b := newBox(t, t.TempDir())
	for _, tc := range []struct {
		method, target, allow string
		status                int
	}{{"GET", "/nothing", "", 404}, {"DELETE", "/allow", "GET POST", 405}, {"POST", "/status", "GET", 405}} {
		answer := httptest.NewRecorder()
		b.server().ServeHTTP(answer, httptest.NewRequest(tc.method, tc.target, nil))
		allow := strings.Join(answer.Header().Values("Allow"), " ")
		if answer.Code != tc.status || allow != tc.allow || !strings.Contains(answer.Body.String(), `"errors"`) {
			t.Errorf("%s %s: %d, allow %q: %s", tc.method, tc.target, answer.Code, allow, answer.Body)
		}
	}
}
