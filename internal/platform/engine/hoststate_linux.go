package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/sickbay-dev/sickbay/internal/atomicfile"
	"github.com/sickbay-dev/sickbay/internal/command"
	"github.com/sickbay-dev/sickbay/internal/platform/apt"
	"github.com/sickbay-dev/sickbay/internal/process"
)

// hostState is what starting an engine, and clusters on it, change on the host beyond files of their own.
type hostState struct {
	Boot      string            `json:"boot"` // a restart of the machine takes all of this back by itself
	Taken     time.Time         `json:"taken"`
	Sysctls   map[string]string `json:"sysctls"`
	IPTables  string            `json:"iptables"`
	IP6Tables string            `json:"ip6tables"`
	Links     []string          `json:"links"`
	Tables    []string          `json:"tables"` // nftables' that carry our name
}

// ownSysctls are what an engine, kind or a kubelet in a privileged container set for the whole machine, with the value they set. The
// kubelet's are vm.* and kernel.*: /proc/sys in a privileged container is the host's. The per-interface ones follow ip_forward. Another
// value than this is somebody else's, who came later, and stays.
var ownSysctls = []struct{ glob, value string }{
	{"net/ipv4/ip_forward", "1"},
	{"net/ipv4/conf/*/forwarding", "1"}, {"net/ipv4/conf/*/accept_redirects", "0"}, {"net/ipv4/conf/*/route_localnet", "1"},
	{"net/ipv6/conf/*/forwarding", "1"}, {"net/ipv6/conf/*/accept_ra", "0"}, {"net/ipv6/conf/*/accept_redirects", "0"}, {"net/ipv6/conf/*/disable_ipv6", "0"},
	{"net/bridge/bridge-nf-*", "1"},
	{"vm/overcommit_memory", "1"}, {"vm/panic_on_oom", "0"},
	{"kernel/panic", "10"}, {"kernel/panic_on_oops", "1"}, {"kernel/keys/root_maxkeys", "1000000"}, {"kernel/keys/root_maxbytes", "25000000"},
	{"fs/inotify/max_user_instances", inotifyInstances},
}

func readHost(ctx context.Context) (hostState, error) {
	s := hostState{Boot: process.Boot(), Taken: time.Now().UTC(), Sysctls: readSysctls()}
	var errs []error
	var err error
	for _, family := range []struct {
		command string
		into    *string
	}{{"iptables-save", &s.IPTables}, {"ip6tables-save", &s.IP6Tables}} {
		*family.into, err = saveRules(ctx, family.command)
		errs = append(errs, err)
	}
	s.Links, err = linkNames()
	errs = append(errs, err)
	s.Tables, err = ownTables()
	errs = append(errs, err)
	return s, errors.Join(errs...)
}

func saveRules(ctx context.Context, program string) (string, error) {
	path := apt.Find(program)
	if path == "" {
		return "", nil // then nobody can have made rules with it
	}
	out, err := command.Output(exec.CommandContext(ctx, path))
	if err != nil {
		return "", fmt.Errorf("read the host's packet filter: %w", err)
	}
	return out, nil
}

func readSysctls() map[string]string {
	values := map[string]string{}
	for _, own := range ownSysctls {
		paths, _ := filepath.Glob("/proc/sys/" + own.glob)
		for _, path := range paths {
			if data, err := os.ReadFile(path); err == nil {
				values[strings.TrimPrefix(path, "/proc/sys/")] = strings.TrimSpace(string(data))
			}
		}
	}
	return values
}

// linkNames asks the kernel: /sys/class/net shows the namespace that /sys was mounted in.
func linkNames() ([]string, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list network interfaces: %w", err)
	}
	var names []string
	for _, l := range links {
		names = append(names, l.Attrs().Name)
	}
	return names, nil
}

// rememberHost saves the host's state before the first start since the machine booted. A state from before a crash of the
// engine is kept: what it changed then is still there.
func rememberHost(ctx context.Context, opts Options) (hostState, error) {
	now, err := readHost(ctx)
	if err != nil {
		return now, err
	}
	if before, err := savedHost(opts); err == nil && before.Boot == now.Boot {
		return before, nil
	}
	data, err := json.MarshalIndent(now, "", "  ")
	if err != nil {
		return now, err
	}
	if err := atomicfile.Write(opts.before(), data, 0o600); err != nil {
		return now, fmt.Errorf("save the host's state, to be restored later: %w", err)
	}
	return now, nil
}

func savedHost(opts Options) (hostState, error) {
	var s hostState
	data, err := os.ReadFile(opts.before())
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("read %s: %w", opts.before(), err)
	}
	return s, nil
}

// restoreHost takes back what the engine changed, once it is stopped. networks are the bridges known to have been ours.
func restoreHost(ctx context.Context, opts Options, networks []string) error {
	before, err := savedHost(opts)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	now, err := readHost(ctx)
	if err != nil {
		return err
	}
	if before.Boot != now.Boot {
		return os.Remove(opts.before())
	}
	anywhere, here := otherDaemons(opts)
	alone := len(here) == 0
	ours := ownBridges(before, now, networks, alone)
	var errs []error
	errs = append(errs,
		restoreRules(ctx, "iptables", nftables.TableFamilyIPv4, before.IPTables, now.IPTables, ours, alone),
		restoreRules(ctx, "ip6tables", nftables.TableFamilyIPv6, before.IP6Tables, now.IP6Tables, ours, alone),
		deleteLinks(ours.bridges))
	if alone {
		_, err := nftTables(true, func(t *nftables.Table) bool { return isOwn(t) && !slices.Contains(before.Tables, t.Name) })
		errs = append(errs, err)
	}
	errs = append(errs, restoreSysctls(before, func(name string) bool {
		return len(anywhere) == 0 || alone && strings.HasPrefix(name, "net/")
	}))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("restore the host's state of %s (%s): %w", before.Taken.Format(time.RFC3339), opts.before(), err)
	}
	return os.Remove(opts.before())
}

// engineBridge is how docker names a bridge that nobody named; ownPrefix begins the names that sickbay gives to bridges and tables.
var engineBridge = regexp.MustCompile(`^br-[0-9a-f]{12}$`)

const ownPrefix = "sickbay"

func ownBridges(before, now hostState, networks []string, alone bool) territory {
	var t territory
	for _, name := range now.Links {
		if slices.Contains(before.Links, name) {
			continue
		}
		if strings.HasPrefix(name, ownPrefix) || slices.Contains(networks, name) || alone && engineBridge.MatchString(name) {
			t.bridges = append(t.bridges, name)
			t.subnets = append(t.subnets, subnetsOf(name)...)
		}
	}
	for _, name := range networks {
		if !slices.Contains(t.bridges, name) {
			t.bridges = append(t.bridges, name) // the bridge is gone, a rule may have stayed
		}
	}
	return t
}

// ruleIsOurs is for showing, not for deleting: a rule that came since the engine started and that names its chains or bridges.
func (t territory) ruleIsOurs(line string) bool {
	return strings.Contains(line, "DOCKER") || strings.Contains(line, "-P FORWARD") || t.has(rule{spec: line})
}

func subnetsOf(link string) []netip.Prefix {
	i, err := net.InterfaceByName(link)
	if err != nil {
		return nil
	}
	addrs, err := i.Addrs()
	if err != nil {
		return nil
	}
	var out []netip.Prefix
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().IsLinkLocalUnicast() {
			out = append(out, p.Masked())
		}
	}
	return out
}

func restoreRules(ctx context.Context, command string, family nftables.TableFamily, before, now string, ours territory, alone bool) error {
	was := parseRules(before)
	if input := undoRules(was, parseRules(now), ours, alone); input != "" {
		if err := applyRules(ctx, command, input); err != nil {
			return err
		}
	}
	left, err := saveRules(ctx, command+"-save")
	if err != nil {
		return err
	}
	empty := emptyTables(was, parseRules(left))
	if len(empty) == 0 {
		return nil
	}
	_, err = nftTables(true, func(t *nftables.Table) bool { return t.Family == family && slices.Contains(empty, t.Name) })
	return err
}

func applyRules(ctx context.Context, program, input string) error {
	cmd := exec.CommandContext(ctx, apt.Find(program+"-restore"), "--noflush", "--wait", "5")
	cmd.Stdin = strings.NewReader(input)
	if _, err := command.Output(cmd); err != nil {
		return fmt.Errorf("%w\nwith this input:\n%s", err, input)
	}
	return nil
}

// nftTables names the nftables' tables that are wanted, and deletes them where that is asked for. iptables itself cannot; only its nftables
// variant leaves any.
func nftTables(drop bool, want func(*nftables.Table) bool) (names []string, err error) {
	conn, err := nftables.New()
	var all []*nftables.Table
	if err == nil {
		all, err = conn.ListTables()
	}
	for _, t := range all {
		if want(t) {
			names = append(names, t.Name)
			if drop {
				conn.DelTable(t)
			}
		}
	}
	if drop && len(names) > 0 {
		err = conn.Flush()
	}
	if err != nil {
		return nil, fmt.Errorf("list or delete nftables' tables %s: %w", strings.Join(names, ", "), err)
	}
	return names, nil
}

// isOwn tells the tables that clusters are kept in by. The engine did not make them, but without its containers they have no purpose.
func isOwn(t *nftables.Table) bool { return strings.HasPrefix(t.Name, ownPrefix) }

func ownTables() ([]string, error) { return nftTables(false, isOwn) }

func deleteLinks(names []string) error {
	var errs []error
	for _, name := range names {
		link, err := netlink.LinkByName(name)
		var gone netlink.LinkNotFoundError
		if errors.As(err, &gone) {
			continue
		}
		if err == nil {
			err = netlink.LinkDel(link)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("delete the bridge %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

func addBridge(name string) error {
	err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}})
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make the bridge %s: %w", name, err)
	}
	return nil
}

// undoSysctls returns the assignments that lead back to before, in their order: ip_forward resets others by itself.
func undoSysctls(before, now map[string]string) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if value, there := now[name]; there && value != before[name] && slices.ContainsFunc(ownSysctls, func(own struct{ glob, value string }) bool {
			match, _ := path.Match(own.glob, name)
			return match && value == own.value
		}) {
			out = append(out, name)
		}
	}
	slices.SortStableFunc(out, func(a, b string) int { return first(a) - first(b) })
	return out
}

func first(name string) int {
	if strings.HasSuffix(name, "/ip_forward") || strings.HasSuffix(name, "/all/forwarding") {
		return 0
	}
	return 1
}

// restoreSysctls sets back those that may: one that another engine lives with is its own concern now.
func restoreSysctls(before hostState, may func(name string) bool) error {
	var errs []error
	for range 2 { // ip_forward and its like change others: the second round sets those
		for _, name := range undoSysctls(before.Sysctls, readSysctls()) {
			if !may(name) {
				continue
			}
			if err := os.WriteFile("/proc/sys/"+name, []byte(before.Sysctls[name]), 0o644); err != nil {
				errs = append(errs, fmt.Errorf("set sysctl %s back to %s: %w", name, before.Sysctls[name], err))
			}
		}
	}
	return errors.Join(errs...)
}
