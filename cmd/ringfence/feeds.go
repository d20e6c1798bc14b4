package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/appliance/control/api"
)

func (a *app) feeds() *cobra.Command {
	return command("feeds", "the deny feeds that the documents name, and what is in them", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			answer, err := a.client().Feeds(ctx)
			if err != nil {
				return err
			}
			return show(a, answer, a.printFeeds)
		})
}

func (a *app) feed() *cobra.Command {
	add := command("import NAME FILE", "put a feed's content in force, whole or not at all; - reads the standard input", cobra.ExactArgs(2),
		func(ctx context.Context, args []string) error {
			content, err := a.openFeed(args[1])
			if err != nil {
				return err
			}
			defer content.Close()
			answer, err := a.client().ImportFeed(ctx, args[0], content)
			if err != nil {
				return err
			}
			return show(a, answer, a.printImported)
		})
	add.Long = add.Short + `.

NAME is that of a feed in the policy or the settings, which also say how it is
written: cidr, apiban, drop or rir. A feed with a line that can't be read is
turned down, with the number of that line, and what was in force stays. What is
imported of a feed with a url is in force until it is fetched next.`
	add.Example = "  ringfence settings set 'feeds[0]' '{\"name\": \"drop\", \"format\": \"drop\"}'\n" +
		"  curl -s https://www.spamhaus.org/drop/drop.txt | ringfence feed import drop -"
	get := command("fetch NAME", "fetch a feed from its url now, and put it in force, whole or not at all", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			answer, err := a.client().FetchFeed(ctx, args[0])
			if err != nil {
				return err
			}
			return show(a, answer, a.printImported)
		})
	get.Long = get.Short + `.

A feed with a url is fetched without being told to: every 24 hours, or as often
as the documents say (every, from 1h to 168h). Where that goes wrong it is tried
again, and what was in force stays; ringfence feeds says how it went.`
	get.Example = "  ringfence settings set 'feeds[0]' '{\"name\": \"drop\", \"format\": \"drop\", \"url\": \"https://www.spamhaus.org/drop/drop.txt\"}'\n" +
		"  ringfence feed fetch drop"
	remove := command("remove NAME", "forget a feed's content; the documents go on naming it, and one with a url is fetched again", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			answer, err := a.client().RemoveFeed(ctx, args[0])
			if err != nil {
				return err
			}
			return show(a, answer, func(answer api.Imported) {
				a.view.line(cell{"Removed", yellow}, cell{fmt.Sprintf(": the content of %s; rules %s.", answer.Feed.Name, answer.Generation), plain})
			})
		})
	return group("feed", "the content of a deny feed", add, get, remove)
}

func (a *app) printImported(answer api.Imported) {
	what := "In force"
	if answer.Unchanged {
		what = "Unchanged"
	}
	a.view.line(cell{what, green}, cell{fmt.Sprintf(": %d entries of %s, digest %s, rules %s.",
		answer.Feed.Entries, answer.Feed.Name, answer.Feed.Digest, answer.Generation), plain})
}

// openFeed opens a file, or the standard input for "-". What is too long is
// turned down before anything is sent, where its length is known.
func (a *app) openFeed(path string) (io.ReadCloser, error) {
	if path == "-" {
		return io.NopCloser(a.env.stdin), nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	switch {
	case err != nil:
	case info.IsDir():
		err = fmt.Errorf("read %s: it is a folder", path)
	case info.Size() > api.MaxFeed:
		err = fmt.Errorf("read %s: more than %d bytes", path, api.MaxFeed)
	default:
		return file, nil
	}
	file.Close()
	return nil, err
}

func (a *app) printFeeds(answer api.Feeds) {
	v := a.view
	if len(answer.Feeds) == 0 {
		v.line(cell{"No feeds: neither the policy nor the settings name one.", plain})
		return
	}
	var rows [][]cell
	for _, one := range answer.Feeds {
		format := strings.TrimSpace(one.Format + " " + strings.Join(one.Countries, ","))
		rows = append(rows, []cell{
			{one.Name, bold}, {orDash(one.Owner), plain}, {orDash(format), plain}, feedState(one),
			{fmt.Sprint(one.Entries), plain}, {v.when(one.Imported), plain}, {v.when(one.Fetched), plain}, {v.when(one.Next), plain},
			{orDash(one.Digest), dim}, feedNote(one),
		})
	}
	v.table([]string{"NAME", "OF", "FORMAT", "STATE", "ENTRIES", "IMPORTED", "FETCHED", "NEXT", "DIGEST", "NOTE"}, rows)
}

// feedNote falls back on what went wrong at the last try, which a note that there
// is says too.
func feedNote(one api.Feed) cell {
	if one.Note == "" {
		return cell{one.Error, yellow}
	}
	return cell{one.Note, yellow}
}

func feedState(one api.Feed) cell {
	switch {
	case one.State == api.FeedInForce:
		return cell{"in force", green}
	case one.State == api.FeedMissing && one.URL != "":
		return cell{"never fetched", yellow}
	case one.State == api.FeedMissing:
		return cell{"never imported", yellow}
	case one.State == api.FeedDamaged:
		return cell{"damaged", red}
	default:
		return cell{"named by no document", dim}
	}
}
