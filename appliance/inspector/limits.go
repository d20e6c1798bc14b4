package inspector

import "time"

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
	contacts     int // Contacts of one REGISTER, and bindings of one address of record

	connections          int // TCP, accepted ones, in all
	connectionsPerSource int
	dialled              int // TCP, those that the box opens itself
	queue                int // messages waiting for one TCP connection
	queued               int // their bytes

	headerDeadline time.Duration // from a message's first byte to its last, on TCP
	idle           time.Duration // without any byte, on TCP
	write          time.Duration // for one message, on TCP
	dial           time.Duration

	ringing   time.Duration // Timer C (RFC 3261 16.6 step 11): more than 3 minutes
	cancelled time.Duration // from CANCEL to the 487 that we make up ourselves: 64*T1 (RFC 3261 9.1)
	linger    time.Duration // of what is over, for repeats and crossing requests: T4 (RFC 3261 17.1.2.2)
	early     time.Duration // an early dialog without news
	call      time.Duration // an answered dialog, however often it is refreshed
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
		contacts:     10,

		connections:          1024,
		connectionsPerSource: 128,
		dialled:              256,
		queue:                64,
		queued:               256 << 10,

		headerDeadline: 10 * time.Second,
		idle:           70 * time.Minute, // longer than a registration of the usual hour
		write:          10 * time.Second,
		dial:           5 * time.Second,

		ringing:   185 * time.Second,
		cancelled: 32 * time.Second,
		linger:    5 * time.Second,
		early:     5 * time.Minute,
		call:      12 * time.Hour,
		sweep:     time.Second,
		drain:     5 * time.Second,
		withdraw:  500 * time.Millisecond,
		route:     15 * time.Second,
	}
}
