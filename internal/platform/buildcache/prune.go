package buildcache

import "slices"

func sortByUse(all []Kept) {
	slices.SortStableFunc(all, func(a, b Kept) int { return a.Used.Compare(b.Used) })
}

// Surplus says what to remove so that no more than limit bytes stay: what was never finished, and then whole parts, the longest
// unused first. What needed names is never taken, whatever the limit.
func Surplus(all []Kept, limit int64, needed func(name string) bool) []Kept {
	all = slices.Clone(all)
	sortByUse(all)
	var total int64
	var out, rest []Kept
	for _, k := range all {
		switch {
		case k.Half && !needed(k.Name):
			out = append(out, k)
		default:
			rest, total = append(rest, k), total+k.Bytes
		}
	}
	for _, k := range rest {
		if total <= limit {
			break
		}
		if !needed(k.Name) {
			out, total = append(out, k), total-k.Bytes
		}
	}
	return out
}
