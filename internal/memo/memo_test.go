package memo

import "testing"

func TestOf(t *testing.T) {
	asked := 0
	double := Of(func(n int) int { asked++; return 2 * n })
	for range 3 {
		for n := range 10 {
			if double(n) != 2*n {
				t.Fatal(n)
			}
		}
	}
	if asked != 10 {
		t.Errorf("asked %d times", asked)
	}
	for n := range 3 * most {
		double(n)
	}
	if asked > 10+3*most {
		t.Errorf("asked %d times", asked)
	}
}
