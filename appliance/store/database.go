package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// file is the database's name in the state folder.
const file = "ringfence.db"

// migrations bring a database from schema i to i+1. Steps are appended, never
// changed: PRAGMA user_version holds how many a database has seen.
var migrations = []string{
	`CREATE TABLE calls (
		seq     INTEGER PRIMARY KEY,      -- order of arrival; retention counts by it
		id      TEXT    NOT NULL UNIQUE,
		start   INTEGER NOT NULL,         -- nanoseconds since 1970, UTC
		verdict INTEGER NOT NULL,         -- 0 blocks, 1 allows
		record  TEXT    NOT NULL          -- the whole appliance.Call as JSON
	) STRICT;
	CREATE INDEX calls_start ON calls (start);
	CREATE INDEX calls_verdict ON calls (verdict, start);
	CREATE TABLE journal (
		seq   INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice
		time  INTEGER NOT NULL,
		kind  TEXT    NOT NULL,
		event TEXT    NOT NULL                   -- the whole appliance.Event as JSON
	) STRICT;
	CREATE INDEX journal_time ON journal (time);
	CREATE INDEX journal_kind ON journal (kind, seq);
	CREATE TABLE probe (id INTEGER PRIMARY KEY, time INTEGER NOT NULL) STRICT;`,
	// The two virtual columns have no index: there are few enough rows to look at all
	// of them, and an index would be paid for with every call.
	`ALTER TABLE calls ADD COLUMN trail TEXT; -- appliance.Trail as JSON, bounded; NULL in records from before
	ALTER TABLE calls ADD COLUMN number TEXT AS (json_extract(record, '$.number')) VIRTUAL;
	ALTER TABLE calls ADD COLUMN account TEXT
		AS (coalesce(nullif(json_extract(record, '$.account'), ''), json_extract(record, '$.from'))) VIRTUAL;`,
	// Whoever wants one verdict only walks calls_start: every call paid for an index of
	// its own.
	`DROP INDEX calls_verdict;`,
	// A STRICT table computes its virtual columns at every INSERT, to check their types:
	// reading the record as JSON was a fifth of what writing it cost. Now only a query
	// that asks for a number or an account does so.
	`ALTER TABLE calls DROP COLUMN number;
	ALTER TABLE calls DROP COLUMN account;`,
}

// What two filters of calls look at.
const (
	numberOf  = "json_extract(record, '$.number')"
	accountOf = "coalesce(nullif(json_extract(record, '$.account'), ''), json_extract(record, '$.from'))"
)

// errUnusable marks a database that can't be used and never will be.
var errUnusable = errors.New("database can't be used")

// database is one open file: a connection that writes, and a few that can't.
type database struct {
	writer, reader *sql.DB
	// Statements of the writer, parsed once: one call, rowsAtOnce calls, one event.
	call, calls, event *sql.Stmt
}

// Pragmas. WAL lets readers go on while the writer writes. synchronous=NORMAL
// is enough for records: after a power cut the newest ones may be missing, but
// the file is whole; FULL would flush the flash at every call. Documents, which
// must not be lost, are files with a flush of their own. temp_store=MEMORY
// is for the statement journal: a statement of many rows copies each page there that
// it touches, and in a file that cost more writes than the log itself.
const (
	writerPragmas = "_pragma=busy_timeout(5000)&_pragma=auto_vacuum(incremental)&_pragma=journal_mode(wal)" +
		"&_pragma=synchronous(normal)&_pragma=temp_store(memory)&_pragma=journal_size_limit(4194304)&_txlock=immediate"
	readerPragmas = "_pragma=busy_timeout(5000)&_pragma=query_only(1)"
)

func openDatabase(path string) (*database, error) {
	writer, err := sql.Open("sqlite", dsn(path, writerPragmas))
	if err != nil {
		return nil, err
	}
	writer.SetMaxOpenConns(1)
	if err := prepare(writer); err != nil {
		return nil, errors.Join(err, writer.Close())
	}
	reader, err := sql.Open("sqlite", dsn(path, readerPragmas))
	if err != nil {
		return nil, errors.Join(err, writer.Close())
	}
	reader.SetMaxOpenConns(4)
	db := &database{writer: writer, reader: reader}
	if err := db.parse(); err != nil {
		return nil, errors.Join(err, db.close())
	}
	return db, nil
}

func (d *database) parse() (err error) {
	if d.call, err = d.writer.Prepare(upsertCalls(1)); err != nil {
		return err
	}
	if d.calls, err = d.writer.Prepare(upsertCalls(rowsAtOnce)); err != nil {
		return err
	}
	d.event, err = d.writer.Prepare(insertEvent)
	return err
}

func dsn(path, pragmas string) string {
	return (&url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: pragmas}).String()
}

// prepare checks the file's structure and brings its schema up to date.
func prepare(db *sql.DB) error {
	var verdict string
	if err := db.QueryRow("PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return fmt.Errorf("check database: %w", err)
	}
	if verdict != "ok" {
		return fmt.Errorf("check database: %w: %s", errUnusable, verdict)
	}
	var version int
	if err := db.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
		return fmt.Errorf("read schema: %w", err)
	}
	if version > len(migrations) {
		return fmt.Errorf("%w: schema %d is newer than %d, the newest that this program knows", errUnusable, version, len(migrations))
	}
	for ; version < len(migrations); version++ {
		if err := migrate(db, version); err != nil {
			return fmt.Errorf("migrate from schema %d: %w", version, err)
		}
	}
	return nil
}

func migrate(db *sql.DB, version int) error {
	return transaction(db, func(tx *sql.Tx) error {
		if _, err := tx.Exec(migrations[version]); err != nil {
			return err
		}
		_, err := tx.Exec(fmt.Sprintf("PRAGMA user_version = %d", version+1))
		return err
	})
}

func (d *database) close() error { return errors.Join(d.reader.Close(), d.writer.Close()) }

func transaction(db *sql.DB, do func(*sql.Tx) error) error {
	tx, err := db.BeginTx(context.Background(), nil)
	if err != nil {
		return err
	}
	if err := do(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// withDatabase opens the database where it is not yet, and runs use on it. A
// damaged file is set aside and use runs again, once, on a new one.
func (s *Store) withDatabase(use func(*database) error) error {
	failed, err := s.tryDatabase(use)
	if err == nil || !unusable(err) {
		return err
	}
	if err := s.setDatabaseAside(failed); err != nil {
		return err
	}
	_, err = s.tryDatabase(use)
	return err
}

// tryDatabase also returns the database that use ran on, nil where none could
// be opened.
func (s *Store) tryDatabase(use func(*database) error) (*database, error) {
	s.mu.RLock()
	if s.db != nil {
		defer s.mu.RUnlock()
		return s.db, use(s.db)
	}
	s.mu.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db == nil {
		db, err := openDatabase(filepath.Join(s.dir, file))
		if err != nil {
			return nil, fmt.Errorf("open database: %w", err)
		}
		s.db = db
	}
	return s.db, use(s.db)
}

func unusable(err error) bool {
	if errors.Is(err, errUnusable) {
		return true
	}
	var code *sqlite.Error
	if !errors.As(err, &code) {
		return false
	}
	primary := code.Code() & 0xff // the rest is SQLite's extended code
	return primary == sqlite3.SQLITE_CORRUPT || primary == sqlite3.SQLITE_NOTADB
}

// setDatabaseAside renames the database with its log, so that the next use
// starts a new one. It does nothing where another user of the failed database
// was faster.
func (s *Store) setDatabaseAside(failed *database) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db != failed {
		return nil
	}
	if s.db != nil {
		_ = s.db.close() // it is damaged: the file is what counts
		s.db = nil
	}
	if err := s.setAside(file, "-wal", "-shm"); err != nil {
		return fmt.Errorf("set the database aside: %w", err)
	}
	return nil
}

func (s *Store) probeDatabase() error {
	s.write.Lock()
	defer s.write.Unlock()
	return s.withDatabase(func(db *database) error {
		_, err := db.writer.Exec("INSERT OR REPLACE INTO probe (id, time) VALUES (1, ?)", s.now().UnixNano())
		return err
	})
}
