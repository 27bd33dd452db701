package detectorstest

import "testing"

// The sandbox sees what a shell would do.
func TestRuns(t *testing.T) {
	const sub = "$(touch " + mark + ")"
	for line, c := range map[string]struct {
		payload string
		bad     bool
	}{
		"echo '" + sub + "'":                                                                 {sub, false},
		`echo "` + sub + `"`:                                                                 {sub, true},
		"sh -ec 'echo $1' sh '" + sub + "'":                                                  {sub, true}, // split
		`sh -ec 'rm -f "$1"' sh '` + sub + "'":                                               {sub, false},
		`sh -ec 'eval "$1"' sh '` + sub + "'":                                                {sub, true},
		`sh -ec 'rm -f "$1"' sh --` + mark + "=x":                                            {"--" + mark + "=", true},
		`sh -ec 'rm -f -- "$1"' sh --` + mark + "=x":                                         {"--" + mark + "=", false},
		`sh -ec 'false || echo "a; $(x)"; ls /' sh`:                                          {sub, false},
		"echo 'a'" + "';touch " + mark + ";'" + "'b'":                                        {"';touch " + mark + ";'", true},
		"sh -ec 'x=$(cat /x); if [ -z \"$x\" ]; then echo \"no $(touch " + mark + ")\"; fi'": {sub, true},
	} {
		if got := Runs(line, c.payload); (got != "") != c.bad {
			t.Errorf("%s: %q", line, got)
		}
	}
}
