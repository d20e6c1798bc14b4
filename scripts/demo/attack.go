package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"

	"github.com/ringfence/ringfence/scripts/peers"
)

// scanned shows that the attacker's tools work: what they find here they must not
// find behind the gate.
func (d *demo) scanned(ctx context.Context) (string, error) {
	var phones, extensions string
	var mapErr, warErr error
	var wait sync.WaitGroup
	wait.Go(func() { phones, mapErr = d.lab.Scan(ctx, "svmap", peers.BoxWAN) })
	wait.Go(func() { extensions, warErr = d.lab.Scan(ctx, "svwar", "-e100-120", "-m", "INVITE", peers.BoxWAN) })
	wait.Wait()
	if !strings.Contains(phones, peers.BoxWAN+":5060") || !strings.Contains(extensions, "| 101 ") {
		return "", errors.Join(mapErr, warErr, fmt.Errorf("the scanners should find an unprotected PBX, but:\n%s%s", phones, extensions))
	}
	return "they find the PBX and its extensions", errors.Join(mapErr, warErr)
}

func (d *demo) attack(ctx context.Context) error {
	return d.step("svmap, svwar and HTTP probes from the internet", func() (string, error) {
		if err := d.knock(); err != nil {
			return "", err
		}
		type probe struct {
			name string
			run  func() (string, error)
		}
		var probes []probe
		for _, tool := range [][]string{
			{"svmap", peers.BoxWAN},
			{"svmap", "-6", peers.BoxWAN6},
			{"svmap", "-6", peers.PBX6},
			{"svmap", "-p5061,50600", peers.BoxWAN},
			{"svwar", "--force", "-e100-120", "-m", "INVITE", peers.BoxWAN},
		} {
			probes = append(probes, probe{strings.Join(tool, " "), func() (string, error) {
				out, err := d.lab.Scan(ctx, tool[0], tool[1:]...)
				if strings.Contains(out, "found nothing") {
					out = ""
				}
				return out, err
			}})
		}
		for _, host := range []string{peers.BoxWAN, "[" + peers.BoxWAN6 + "]", "[" + peers.PBX6 + "]"} {
			for _, url := range []string{"http://" + host, "https://" + host, "http://" + host + ":8080"} {
				probes = append(probes, probe{"curl " + url, func() (string, error) {
					answered, err := d.lab.Probe(ctx, url)
					if answered {
						return "answered", err
					}
					return "", err
				}})
			}
		}
		d.scans = make([]scan, len(probes))
		errs := make([]error, len(probes))
		var wait sync.WaitGroup
		for i, one := range probes {
			wait.Go(func() {
				d.scans[i].name = one.name
				d.scans[i].found, errs[i] = one.run()
			})
		}
		wait.Wait()
		return fmt.Sprintf("%d of %d found anything", d.found(), len(d.scans)), errors.Join(errs...)
	})
}

func (d *demo) found() int {
	count := 0
	for _, s := range d.scans {
		if s.found != "" {
			count++
		}
	}
	return count
}

// knock sends one datagram to a port that is not guarded, so that a witness that
// counts nothing else is known to see.
func (d *demo) knock() error {
	return d.lab.Inside("attacker", func() error {
		socket, err := net.Dial("udp", peers.BoxWAN+":33434")
		if err != nil {
			return err
		}
		defer socket.Close()
		_, err = socket.Write([]byte("anybody there?"))
		return err
	})
}
