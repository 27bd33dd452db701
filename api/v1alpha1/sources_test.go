package v1alpha1

import "testing"

func TestUnreadable(t *testing.T) {
	for _, c := range []struct {
		name, source string
		o            Observation
		want         string
	}{
		{"read", SourceCNI, Observation{Sources: []string{SourceCNI}}, ""},
		{"not read", SourceCNI, Observation{Sources: []string{SourceCNI}, Unknown: []Unknown{{SourceCNI, "no answer"}}}, "no answer"},
		{"the agent does not look at it", SourceIPAM, Observation{Sources: []string{SourceCNI}}, "cni.ipam was not looked at"},
		{"of before sources were listed", SourceCNI, Observation{}, ""},
		{"of before it had a name of its own", SourceIPAM, Observation{}, ""},
		{"of before it was looked at", "limits", Observation{}, "limits was not looked at"},
	} {
		if why, yes := c.o.Unreadable(c.source); why != c.want || yes != (c.want != "") {
			t.Errorf("%s: %q, %v", c.name, why, yes)
		}
	}
}
