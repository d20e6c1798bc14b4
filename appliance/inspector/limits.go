package inspector

import (
	"time"

	"github.com/ringfence/ringfence/appliance/inspector/transaction"
)

// limits bounds everything that the network can make grow, and every wait. The
// values are fixed for a box; tests shrink them.
type limits struct {
	transactions int // server and client transactions together
	bytes        int // of the messages that transactions keep
	identity     int // bytes of a message that outlive it, in dialogs, bindings and records
	dialogs      int
	bindings     int
	reserve      int // of transactions and dialogs, kept for emergency calls
	forks        int // early dialogs of one INVITE
	attempts     int // remembered, for what repeats them and what forwards them
	numbers      int // of this site, learned from the calls that it answered
	contacts     int // Contacts of one REGISTER, and bindings of one address of record

	accountRecords quota // of refused calls, for each account at each source
	sourceRecords  quota // and for all of them together

	salvages          int // BYEs of calls that are not known, in all, that wait for their answer
	salvagesPerSource int

	keptBytes    int // of all messages that are kept for whoever asks afterwards
	keptCall     int // of those of one Call-ID
	keptMessage  int // of one of them
	keptMessages int // how many of one Call-ID

	connections          int // TCP and TLS, accepted ones, in all
	connectionsKept      int // of those, for the PBX and trunks
	connectionsPerSource int // a source is an address, and a /64 of IPv6 on the WAN
	dialled              int // TCP, those that the box opens itself
	pending              int // requests of one TCP connection of a phone that wait for their final response
	queue                int // messages waiting for one TCP connection that was accepted
	dialledQueue         int // and for one that the box opens
	queued               int // their bytes

	timers transaction.Timers // of every transaction

	greeting       time.Duration // from accepting to the end of the first message, on TCP
	headerDeadline time.Duration // from a message's first byte to its last, on TCP
	idle           time.Duration // without any byte, on TCP
	write          time.Duration // for one message, on TCP
	dial           time.Duration

	firstWord time.Duration // from an INVITE to any answer of one target, while there are others
	ringing   time.Duration // Timer C (RFC 3261 16.6 step 11): more than 3 minutes
	waiting   time.Duration // an INVITE without an answer, however often it says that it rings
	cancelled time.Duration // from CANCEL to the 487 that we make up ourselves: 64*T1 (RFC 3261 9.1)
	linger    time.Duration // of what is over, for repeats and crossing requests: T4 (RFC 3261 17.1.2.2)
	early     time.Duration // an early dialog without news
	call      time.Duration // an answered call, however often it is refreshed
	costly    time.Duration // the same to a number abroad that only an exception allows
	help      time.Duration // the same to an emergency number, and until it is answered
	again     time.Duration // before a side that did not answer is asked again whether it is there
	attempt   time.Duration // in which a repeated INVITE belongs to the attempt before
	beside    time.Duration // in which an inbound call and an outbound one may be one that is forwarded
	sweep     time.Duration // between two rounds of the reaper
	drain     time.Duration // from the end of Run's context until what still rings is withdrawn
	withdraw  time.Duration // from then until the sockets close
	route     time.Duration // a learned local address, before it is asked for again
}

func defaultLimits() limits {
	return limits{
		transactions: 32768,
		bytes:        64 << 20,
		identity:     8 << 10,
		dialogs:      16384,
		bindings:     4096,
		reserve:      256,
		forks:        12,
		attempts:     4096,
		numbers:      4096,
		contacts:     10,

		// What one source leaves behind in a weekend is less than the records hold.
		accountRecords: quota{500, 10 * time.Second},
		sourceRecords:  quota{5000, 5 * time.Second},

		salvages:          256,
		salvagesPerSource: 64, // the PBX and trunks end the calls of many at once

		keptBytes:    16 << 20,
		keptCall:     128 << 10,
		keptMessage:  8 << 10,
		keptMessages: 64,

		connections:          1024,
		connectionsKept:      64,
		connectionsPerSource: 128,
		dialled:              256,
		pending:              32,
		queue:                128,
		dialledQueue:         512, // an office registers again before the connection is open
		queued:               1 << 20,

		timers: transaction.Defaults(),

		greeting:       30 * time.Second,
		headerDeadline: 10 * time.Second,
		idle:           70 * time.Minute, // longer than a registration of the usual hour
		write:          10 * time.Second,
		dial:           5 * time.Second,

		firstWord: 5 * time.Second, // UDP has repeated it three times
		ringing:   185 * time.Second,
		// An unpaid announcement is all that a caller hears for so long. Networks end it
		// within 3 minutes, and queues that keep him longer answer.
		waiting:   10 * time.Minute,
		cancelled: 32 * time.Second,
		linger:    5 * time.Second,
		early:     5 * time.Minute,
		call:      4 * time.Hour,
		costly:    time.Hour,
		help:      12 * time.Hour,
		again:     time.Minute,
		attempt:   64 * time.Second,
		beside:    2 * time.Second,
		sweep:     time.Second,
		drain:     5 * time.Second,
		withdraw:  500 * time.Millisecond,
		route:     15 * time.Second,
	}
}
