package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Kind is a kind of thing that sickbay can leave behind.
type Kind string

// The kinds, in the order in which they are shown.
const (
	Container Kind = "container"
	Volume    Kind = "volume"
	Network   Kind = "network"
	Mount     Kind = "mount"
	Loop      Kind = "loop device"
	Swap      Kind = "swap"
	Rule      Kind = "firewall rule"
	Bridge    Kind = "bridge"
	Sysctl    Kind = "sysctl"
	Cgroup    Kind = "cgroup"
	Proc      Kind = "process"
	File      Kind = "file"
)

var kinds = []Kind{Container, Volume, Network, Mount, Loop, Swap, Rule, Bridge, Sysctl, Cgroup, Proc, File}

// Item is one thing on this machine.
type Item struct {
	Kind   Kind   `json:"kind"`
	Name   string `json:"name"`
	Detail string `json:"detail,omitempty"`
	// Ours is set when it certainly belongs to sickbay or its engine. Loop devices and swap are listed whoever made them: they
	// belong to the kernel, and a file's path does not tell whose it is.
	Ours bool `json:"ours"`
}

// Inventory is what is on this machine now, of the kinds of things that sickbay makes. Two of them can be compared.
type Inventory struct {
	Items   []Item   `json:"items"`
	Unknown []string `json:"unknown,omitempty"` // what could not be looked at, and why
}

// Of returns the items of one kind.
func (i Inventory) Of(k Kind) []Item {
	var out []Item
	for _, item := range i.Items {
		if item.Kind == k {
			out = append(out, item)
		}
	}
	return out
}

// Since returns what is here and was not in an earlier inventory. Details may have changed meanwhile: they do not count.
func (i Inventory) Since(earlier Inventory) []Item {
	return slices.DeleteFunc(slices.Clone(i.Items), func(item Item) bool {
		return slices.ContainsFunc(earlier.Items, func(e Item) bool { return e.Kind == item.Kind && e.Name == item.Name })
	})
}

// String is for people: a section for each kind that there is something of.
func (i Inventory) String() string {
	var b strings.Builder
	var none []string
	for _, k := range kinds {
		items := i.Of(k)
		if len(items) == 0 {
			none = append(none, string(k))
			continue
		}
		fmt.Fprintf(&b, "%s (%d)\n", k, len(items))
		width := 0
		for _, item := range items {
			width = max(width, min(len(item.Name), 60))
		}
		for _, item := range items {
			line := fmt.Sprintf("  %-*s  %s", width, item.Name, item.Detail)
			if !item.Ours {
				line = strings.TrimRight(line, " ") + "  (not known to be sickbay's)"
			}
			b.WriteString(strings.TrimRight(line, " ") + "\n")
		}
	}
	if len(none) > 0 {
		fmt.Fprintf(&b, "none: %s\n", strings.Join(none, ", "))
	}
	for _, u := range i.Unknown {
		fmt.Fprintf(&b, "not known: %s\n", u)
	}
	return strings.TrimRight(b.String(), "\n")
}

func (i *Inventory) add(k Kind, ours bool, name, detail string) {
	i.Items = append(i.Items, Item{Kind: k, Name: name, Detail: detail, Ours: ours})
}

func (i *Inventory) unknown(what string, err error) {
	i.Unknown = append(i.Unknown, what+": "+said(err))
}

// TakeInventory lists what sickbay and kind left on this machine: what carries their labels in the engine in use (nil when there
// is none) and in sickbay's own, and what is on the host itself. It changes nothing.
func TakeInventory(ctx context.Context, e *Engine, opts Options) Inventory {
	opts = opts.withDefaults()
	var inv Inventory
	own, _ := private(ctx, opts)
	for _, e := range []*Engine{own, e} {
		if e != nil && (e == own || own == nil || e.Host != own.Host) {
			engineInventory(ctx, opts, e, &inv)
		}
	}
	hostInventory(ctx, opts, &inv)
	slices.SortStableFunc(inv.Items, func(a, b Item) int {
		if n := slices.Index(kinds, a.Kind) - slices.Index(kinds, b.Kind); n != 0 {
			return n
		}
		return strings.Compare(a.Name, b.Name)
	})
	return inv
}

// engineInventory asks one engine. In sickbay's own everything is ours; elsewhere only what carries a label of ours or of kind.
func engineInventory(ctx context.Context, opts Options, e *Engine, inv *Inventory) {
	ctx, cancel := context.WithTimeout(ctx, opts.Timeouts.Look)
	defer cancel()
	for _, q := range []struct {
		kind Kind
		args []string
	}{
		{Container, []string{"ps", "--all", "--no-trunc", "--format", "json"}},
		{Volume, []string{"volume", "ls", "--format", "json"}},
		{Network, []string{"network", "ls", "--no-trunc", "--format", "json"}},
	} {
		args := q.args
		if e.Provider == Docker {
			args = slices.Concat(args[:len(args)-1], []string{"{{json .}}"}) // clients before 23 know templates only
		}
		out, err := e.output(ctx, args...)
		if err != nil {
			inv.unknown(fmt.Sprintf("the %ss of %s", q.kind, e), err)
			continue
		}
		for _, row := range rows(out) {
			labelled := row.Labels.ours()
			predefined := q.kind == Network && slices.Contains([]string{"bridge", "host", "none", "podman"}, row.Name)
			kindNetwork := q.kind == Network && row.Name == "kind"
			if predefined || !e.Private && !labelled && !kindNetwork {
				continue
			}
			name, detail := row.Name, row.Driver
			if q.kind == Container {
				name, detail = string(row.Names), strings.TrimSpace(row.Image+" "+row.Status)
			}
			inv.add(q.kind, e.Private || labelled, name, detail)
		}
	}
}

// row is what the clients print about one thing; docker and podman differ in what is a string and what is not.
type row struct {
	Name, Driver, Image, Status string
	Names                       oneOf
	Labels                      labels
}

func rows(out string) []row {
	var list []row
	if json.Unmarshal([]byte(out), &list) == nil {
		return list // podman prints one array
	}
	for line := range strings.Lines(out) {
		var r row
		if json.Unmarshal([]byte(line), &r) == nil {
			list = append(list, r)
		}
	}
	return list
}

// oneOf is a string, or a list of which the first counts.
type oneOf string

func (t *oneOf) UnmarshalJSON(data []byte) error {
	var list []string
	if json.Unmarshal(data, &list) == nil && len(list) > 0 {
		*t = oneOf(list[0])
		return nil
	}
	return json.Unmarshal(data, (*string)(t))
}

// labels are "a=b,c=d" with docker and an object with podman.
type labels map[string]string

func (l *labels) UnmarshalJSON(data []byte) error {
	var s string
	if json.Unmarshal(data, &s) != nil {
		return json.Unmarshal(data, (*map[string]string)(l))
	}
	*l = labels{}
	for pair := range strings.SplitSeq(s, ",") {
		name, value, _ := strings.Cut(pair, "=")
		(*l)[name] = value
	}
	return nil
}

func (l labels) ours() bool {
	for name := range l {
		if strings.HasPrefix(name, LabelPrefix) || name == kindLabel {
			return true
		}
	}
	return false
}
