package suites

import "time"

// awoke is when this process began, by both of its clocks.
var awoke = time.Now()

// stamp is the present by the clock that nobody can set, counted from what the wall clock said at this process's start: a fault that
// moves the machine's clock makes no step of a report longer, or shorter than nothing.
func stamp() time.Time { return awoke.UTC().Add(time.Since(awoke)) }
