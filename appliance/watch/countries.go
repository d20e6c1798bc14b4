package watch

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/feed"
)

// keptCountries is followed by a registry's name.
const keptCountries = "countries-"

// SetCountries imports the statistics of a registry, which tell the country of
// addresses that register, in the place of those that it had, or changes nothing.
func (w *Watch) SetCountries(data []byte) (feed.Atlas, error) {
	atlas, err := feed.ParseAtlas(data)
	if err != nil {
		return feed.Atlas{}, err
	}
	return atlas, w.keepCountries(atlas)
}

// ForgetCountries takes a registry's statistics out.
func (w *Watch) ForgetCountries(registry string) error {
	w.mu.Lock()
	_, found := w.countries[registry]
	w.mu.Unlock()
	if !found {
		return &appliance.Error{Code: appliance.CodeNotFound, Field: "registry", Message: "there are no statistics of it"}
	}
	return w.keepCountries(feed.Atlas{Registry: registry})
}

// keepCountries keeps what is in force; that of no country is none.
func (w *Watch) keepCountries(atlas feed.Atlas) error {
	w.importing.Lock() // of two editions the one kept is the one in force
	defer w.importing.Unlock()
	if err := w.Keeper.Keep(keptCountries+atlas.Registry, feed.EncodeAtlas(atlas)); err != nil {
		return err
	}
	w.putCountries(atlas)
	return nil
}

func (w *Watch) putCountries(atlas feed.Atlas) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(atlas.Countries) == 0 {
		delete(w.countries, atlas.Registry)
		return
	}
	w.countries[atlas.Registry] = atlas
}

func (w *Watch) loadCountries() {
	for _, registry := range feed.Registries() {
		w.take(keptCountries+registry, func(data []byte) error {
			atlas, err := feed.DecodeAtlas(data)
			if err == nil {
				w.putCountries(atlas)
			}
			return err
		})
	}
}

// Countries returns what tells the country of addresses, by registry.
func (w *Watch) Countries() []feed.Atlas {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.SortedFunc(maps.Values(w.countries), func(a, b feed.Atlas) int { return cmp.Compare(a.Registry, b.Registry) })
}

// country is where an address was handed out to, "" where nobody knows.
func (w *Watch) country(address netip.Addr) string {
	for _, atlas := range w.Countries() {
		if country := atlas.Country(address); country != "" {
			return country
		}
	}
	return ""
}
