package store

import "database/sql"

// shrinkParts is how much goes at a time where the database is too large: a tenth.
const shrinkParts = 10

// shrink forgets the oldest calls and events, a tenth at a time, until what is left
// fits into the size bound. It counts pages in use, not the file, which follows
// when the space is given back. Zero means no bound. It reports whether it forgot
// anything.
func shrink(tx *sql.Tx, most int64) (shrunk bool, err error) {
	for most > 0 {
		var pages, free, size int64
		for pragma, into := range map[string]*int64{"page_count": &pages, "freelist_count": &free, "page_size": &size} {
			if err := tx.QueryRow("PRAGMA " + pragma).Scan(into); err != nil {
				return shrunk, err
			}
		}
		if (pages-free)*size <= most {
			return shrunk, nil
		}
		gone, err := shrinkOnce(tx)
		if err != nil || gone == 0 {
			return shrunk, err
		}
		shrunk = true
	}
	return shrunk, nil
}

// shrinkOnce returns how many rows it forgot: none where there are none.
func shrinkOnce(tx *sql.Tx) (gone int64, err error) {
	for _, table := range []string{"calls", "journal"} {
		done, err := tx.Exec("DELETE FROM "+table+" WHERE seq IN (SELECT seq FROM "+table+
			" ORDER BY seq LIMIT (SELECT (count(*) + ?1 - 1) / ?1 FROM "+table+"))", shrinkParts)
		if err != nil {
			return gone, err
		}
		rows, err := done.RowsAffected()
		if err != nil {
			return gone, err
		}
		gone += rows
	}
	return gone, nil
}
