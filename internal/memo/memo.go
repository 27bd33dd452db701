// Package memo keeps the answers of pure functions that are asked the same again at every look.
package memo

import "sync"

// most bounds what is kept: texts of many pods come and go.
const most = 512

// Of is f with its latest answers kept.
func Of[K comparable, V any](f func(K) V) func(K) V {
	var mu sync.Mutex
	known := map[K]V{}
	return func(k K) V {
		mu.Lock()
		v, ok := known[k]
		mu.Unlock()
		if ok {
			return v
		}
		v = f(k)
		mu.Lock()
		defer mu.Unlock()
		if len(known) >= most {
			clear(known)
		}
		known[k] = v
		return v
	}
}
