package appliance

// Validators are what a server said of an edition, to ask it with whether there
// is another (RFC 9110, section 8.8). Either may be empty.
type Validators struct {
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"`
}

// Fetched is what a server answered: a whole body, or that the edition asked
// about is still the present one.
type Fetched struct {
	Body       []byte
	Same       bool // there is no other edition; Body is nil
	Validators Validators
}
