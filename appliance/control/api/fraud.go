package api

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

// Finding is what a rule of the behaviour engine saw.
type Finding struct {
	At      time.Time `json:"at"`
	Rule    string    `json:"rule"`
	Level   string    `json:"level"`   // notice, warning or critical
	Shadow  bool      `json:"shadow"`  // the rule is on trial: nothing was done
	Subject string    `json:"subject"` // site, extension:NAME or trunk:NAME
	Number  string    `json:"number,omitempty"`
	Call    string    `json:"call,omitempty"`
	Misdial bool      `json:"misdial"`
	Why     string    `json:"why"`
}

// TollBlock is a toll-block in force.
type TollBlock struct {
	Subject  string    `json:"subject"`
	Scope    string    `json:"scope"`
	Rule     string    `json:"rule,omitempty"` // empty where a person entered it
	Why      string    `json:"why"`
	Owner    string    `json:"owner"`
	Since    time.Time `json:"since"`
	Policy   string    `json:"policy"` // digest of the rules at the time
	Evidence []Finding `json:"evidence"`
}

// Release lets one number pass the lists for a while.
type Release struct {
	Number string    `json:"number"`
	By     string    `json:"by"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
}

// Credential is what the audit knows of an account's password: never the password.
type Credential struct {
	Account string    `json:"account"`
	Realm   string    `json:"realm"`
	Weak    bool      `json:"weak"`
	Class   string    `json:"class,omitempty"` // of the word that it is made of
	Why     string    `json:"why,omitempty"`
	Tested  time.Time `json:"tested"`
	Since   time.Time `json:"since"` // the first time that it came out so
}

// Spent is what a subject has spent in a period, of which it may spend Limit.
type Spent struct {
	Subject string `json:"subject"`
	Per     string `json:"per"` // day or month
	Spent   string `json:"spent"`
	Limit   string `json:"limit"`
}

// Fraud is the answer to GET /fraud.
type Fraud struct {
	Blocks      []TollBlock    `json:"blocks"`      // the oldest first
	Releases    []Release      `json:"releases"`    // by number
	Findings    []Finding      `json:"findings"`    // newest first
	Credentials []Credential   `json:"credentials"` // those that are weak
	Spent       []Spent        `json:"spent"`       // where there is a limit
	Rates       int            `json:"rates"`       // prefixes of the deck; 0: worst-case rates
	Currency    string         `json:"currency"`
	Registries  []Registry     `json:"registries"`        // which tell the country of an address, by name
	Open        bool           `json:"open"`              // within business hours
	Changes     time.Time      `json:"changes,omitzero"`  // when that is over
	Waiting     map[string]int `json:"waiting"`           // notices not delivered yet, by channel
	Trouble     string         `json:"trouble,omitempty"` // what the engine can't keep
}

// NewBlock is the body of POST /fraud/blocks.
type NewBlock struct {
	Subject string `json:"subject"`
	Scope   string `json:"scope,omitempty"` // empty: international and premium
	By      string `json:"by"`
	Why     string `json:"why"`
}

// Check is one line of the list before a block is left.
type Check struct {
	Check      string `json:"check"`
	Sentence   string `json:"sentence"`
	Verified   bool   `json:"verified"`
	Why        string `json:"why"`
	Attestable bool   `json:"attestable"`
}

// Checklist is the answer to GET /fraud/blocks/{subject}.
type Checklist struct {
	Block  TollBlock `json:"block"`
	Checks []Check   `json:"checks"`
}

// Word is a person's word for a check.
type Word struct {
	Check string `json:"check"`
	Why   string `json:"why"`
}

// Reopen is the body of POST /fraud/blocks/{subject}.
type Reopen struct {
	By    string `json:"by"`
	Words []Word `json:"words"`
}

// Proof says how a check was met.
type Proof struct {
	Check    string    `json:"check"`
	Verified bool      `json:"verified"` // by the box; else by's word
	By       string    `json:"by"`
	Why      string    `json:"why"`
	At       time.Time `json:"at"`
}

// Reopened is the answer.
type Reopened struct {
	Subject string  `json:"subject"`
	Proofs  []Proof `json:"proofs"`
}

// NewRelease is the body of POST /releases: a number, or the call that was refused.
type NewRelease struct {
	Number  string `json:"number,omitempty"`
	Call    string `json:"call,omitempty"`
	By      string `json:"by"`
	Seconds int    `json:"seconds"` // 0: until midnight of the site
}

// Rates is the answer to PUT /rates.
type Rates struct {
	Prefixes int    `json:"prefixes"`
	Currency string `json:"currency"`
}

// Registry is what a registry's statistics know, and the answer to PUT /countries.
type Registry struct {
	Registry  string `json:"registry"`
	Serial    string `json:"serial"`
	Countries int    `json:"countries"`
	Networks  int    `json:"networks"`
}

// RuleReport is what one rule would have done with a history.
type RuleReport struct {
	Rule     string    `json:"rule"`
	Mode     string    `json:"mode"`
	Warn     float64   `json:"warn"`
	Critical float64   `json:"critical"`
	Warnings int       `json:"warnings"`
	Stopped  []Finding `json:"stopped"`
	Sentence string    `json:"sentence"`
}

// Report is the answer to POST /fraud/replay.
type Report struct {
	From     time.Time    `json:"from,omitzero"`
	Until    time.Time    `json:"until,omitzero"`
	Calls    int          `json:"calls"`
	Rules    []RuleReport `json:"rules"` // those that would have stopped most first
	Blocks   []TollBlock  `json:"blocks"`
	Refused  int          `json:"refused"`
	National int          `json:"national"`
	Spent    string       `json:"spent"`
	Kept     string       `json:"kept"`
	Currency string       `json:"currency"`
}

// Sender is who asks for a test notice.
type Sender struct {
	By string `json:"by"`
}

// Secret is the body of PUT /secrets/{name}. It is written only.
type Secret struct {
	Value string `json:"value"`
}

// Audits is the answer to GET /audit: oldest first.
type Audits struct {
	Lines  []appliance.Audit `json:"lines"`
	Broken string            `json:"broken,omitempty"` // why the chain does not hold
}

// Nothing is the answer where there is nothing to say but that it was done.
type Nothing struct{}

// Fraud asks for the state of the behaviour engine.
func (c *Client) Fraud(ctx context.Context, limit int) (Fraud, error) {
	query := url.Values{}
	setCount(query, "limit", int64(limit))
	return get[Fraud](ctx, c, "/fraud", query)
}

// Checklist asks what must be shown before a block is left.
func (c *Client) Checklist(ctx context.Context, subject string) (Checklist, error) {
	return get[Checklist](ctx, c, "/fraud/blocks/"+url.PathEscape(subject), nil)
}

// Block enters a toll-block.
func (c *Client) Block(ctx context.Context, block NewBlock) (TollBlock, error) {
	return send[TollBlock](ctx, c, http.MethodPost, "/fraud/blocks", "", block)
}

// Reopen leaves a toll-block.
func (c *Client) Reopen(ctx context.Context, subject string, reopen Reopen) (Reopened, error) {
	return send[Reopened](ctx, c, http.MethodPost, "/fraud/blocks/"+url.PathEscape(subject), "", reopen)
}

// Release lets a number pass the lists for a while.
func (c *Client) Release(ctx context.Context, release NewRelease) (Release, error) {
	return send[Release](ctx, c, http.MethodPost, "/releases", "", release)
}

// Withdraw ends a release.
func (c *Client) Withdraw(ctx context.Context, number string) error {
	_, err := send[Nothing](ctx, c, http.MethodDelete, "/releases/"+url.PathEscape(number), "", nil)
	return err
}

// SetCountries imports the statistics of a registry.
func (c *Client) SetCountries(ctx context.Context, statistics io.Reader) (answer Registry, err error) {
	return upload[Registry](ctx, c, http.MethodPut, "/countries", statistics)
}

// ForgetCountries takes the statistics of a registry out.
func (c *Client) ForgetCountries(ctx context.Context, registry string) error {
	_, err := send[Nothing](ctx, c, http.MethodDelete, "/countries/"+url.PathEscape(registry), "", nil)
	return err
}

// SetRates imports a rate deck.
func (c *Client) SetRates(ctx context.Context, deck io.Reader, currency string) (answer Rates, err error) {
	return upload[Rates](ctx, c, http.MethodPut, "/rates?currency="+url.QueryEscape(currency), deck)
}

// Replay asks what the engine would have made of a history.
func (c *Client) Replay(ctx context.Context, history io.Reader) (Report, error) {
	return upload[Report](ctx, c, http.MethodPost, "/fraud/replay", history)
}

// upload sends what may be long.
func upload[T any](ctx context.Context, c *Client, method, path string, body io.Reader) (answer T, err error) {
	ctx, cancel := context.WithTimeout(ctx, longPatience)
	defer cancel()
	request, err := c.request(ctx, method, path, body)
	if err != nil {
		return answer, err
	}
	request.Header.Set("Content-Type", "text/csv")
	data, _, err := c.do(request)
	if err != nil {
		return answer, err
	}
	return decode[T](data)
}

// TestNotice sends a notice, to see whether it arrives.
func (c *Client) TestNotice(ctx context.Context, by string) error {
	_, err := send[Nothing](ctx, c, http.MethodPost, "/notices/test", "", Sender{by})
	return err
}

// SetSecret keeps a secret of the box.
func (c *Client) SetSecret(ctx context.Context, name, value string) error {
	_, err := send[Nothing](ctx, c, http.MethodPut, "/secrets/"+url.PathEscape(name), "", Secret{value})
	return err
}

// Audit asks for the audit log after a line.
func (c *Client) Audit(ctx context.Context, after uint64, limit int) (Audits, error) {
	query := url.Values{}
	setCount(query, "after", int64(after))
	setCount(query, "limit", int64(limit))
	return get[Audits](ctx, c, "/audit", query)
}
