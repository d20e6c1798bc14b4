package store

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

// texts are what a caller may write, and what JSON has to escape.
var texts = [...]string{"", "101", "a<b>&\"c\"\\", "\x00\x1f\x7f\n", "Zoë …\u2028", "\xff\xfebroken", "+252"}

// fill gives every field of v a value; one that it can't fill fails the test, so that
// none is forgotten here.
func fill(t *testing.T, random *rand.Rand, v reflect.Value) {
	t.Helper()
	if at, ok := v.Addr().Interface().(*time.Time); ok {
		if random.IntN(3) > 0 {
			*at = time.Unix(random.Int64N(4e9), random.Int64N(1e9)).In(time.FixedZone("", 3600*random.IntN(12)))
		}
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(texts[random.IntN(len(texts))])
	case reflect.Bool:
		v.SetBool(random.IntN(2) == 0)
	case reflect.Int:
		v.SetInt(int64(random.IntN(5)) * -311)
	case reflect.Uint8:
		v.SetUint(uint64(random.IntN(256)))
	case reflect.Uint64:
		v.SetUint(random.Uint64())
	case reflect.Slice:
		if n := random.IntN(4); n > 0 {
			v.Set(reflect.MakeSlice(v.Type(), n-1, n-1))
			for i := range v.Len() {
				fill(t, random, v.Index(i))
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, random, v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, random, v.Field(i))
		}
	default:
		t.Fatalf("no value for a %s", v.Type())
	}
}

// TestEncodersWriteWhatJSONWrites compares them over records of every sort.
func TestEncodersWriteWhatJSONWrites(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		var call appliance.Call
		fill(t, random, reflect.ValueOf(&call).Elem())
		want, err := json.Marshal(call.Trail)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := appendTrail(nil, call.Trail); err != nil || string(got) != string(want) {
			t.Fatalf("got  %s, err %v\nwant %s", got, err, want)
		}
		call.Trail = nil
		if want, err = json.Marshal(call); err != nil {
			t.Fatal(err)
		}
		if got, err := appendCall(nil, &call); err != nil || string(got) != string(want) {
			t.Fatalf("got  %s, err %v\nwant %s", got, err, want)
		}
	}
}

func TestEncodersRefuseWhatJSONRefuses(t *testing.T) {
	call := appliance.Call{Start: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}
	if _, err := appendCall(nil, &call); err == nil {
		t.Error("a year of five digits was written")
	}
}
