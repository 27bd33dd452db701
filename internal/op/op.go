package op

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
)

// Op is one reversible change of a node. Its exported fields are its parameters and what Save recorded; they are stored as
// JSON in the journal, and another process, possibly of a newer version, undoes the change from them alone.
//
//	planned ──Save──▶ saved ──Do──▶ done ──Undo──▶ undone
//
// Undo and Pending are legal in every state but planned: before Do, after half a Do, twice.
type Op interface {
	// Describe tells a person what Do does, such as "remove /etc/cni/net.d/10-kindnet.conflist".
	Describe() string
	// Save records what Do will displace, in the operation's fields and in files below env.Dir. It changes nothing else.
	Save(ctx context.Context, env Env) error
	// Do makes the change.
	Do(ctx context.Context, env Env) error
	// Pending measures what Undo would still have to do.
	Pending(ctx context.Context, env Env) (Rest, error)
	// Undo takes the change back. It does nothing where nothing is left to do.
	Undo(ctx context.Context, env Env) error

	bind(Sys)
}

// Rest is what is left of a change.
type Rest struct {
	// Todo is the change itself, still in effect; empty when it is gone.
	Todo string
	// Tidy is a difference from before that is no longer the fault: what a remedy left behind. Undo removes it too.
	Tidy string
	// Framed says that the units of the surrounding brackets have read what is being tidied, so they restart for it.
	Framed bool
	// Note is something Undo will leave as it is, and somebody should know.
	Note string
}

// Nothing tells whether Undo has nothing to do.
func (r Rest) Nothing() bool { return r.Todo == "" && r.Tidy == "" }

// Bracket marks operations that only frame others, such as stopping a unit before a change and starting it afterwards.
// They are no fault by themselves, and Undo of their closing half is skipped when nothing between them is left to undo.
type Bracket interface {
	Op
	// Closing tells the half that stands after the framed operations.
	Closing() bool
}

// OneOff is an operation that leaves nothing for Undo: what it killed, others start again.
type OneOff interface {
	Op
	// Effect measures that the change was made, and says how; empty when it was not.
	Effect() (string, error)
}

// Toucher is an operation that changes something under a path. Two changes of one thing are undone newest first, or the
// older one's undo is overwritten by what the newer one saved.
type Toucher interface {
	Op
	// Touches lists paths, and units by their names.
	Touches() []string
}

// Env is what an operation may use besides the parts of the node that it asks for.
type Env struct {
	// Dir is the injection's journal directory, for backups. It is never on a filesystem that a fault fills or freezes.
	Dir string
	// Index numbers the operation within its injection; backups are named by it.
	Index int
	// Persist writes the operation's fields to the journal now, for what is learnt in the middle of Do.
	Persist func() error
	// Made lists the filesystems sickbay made on this node, from the journal at this moment.
	Made func() ([]*LoopFS, error)
}

// Backup is the path of the operation's backup file.
func (e Env) Backup(name string) string { return fmt.Sprintf("%s/%02d-%s", e.Dir, e.Index, name) }

// kinds are the operations by the names under which the journal stores them.
var kinds = map[string]Op{
	"apparmor": (*AppArmor)(nil), "bounce": (*Bounce)(nil), "bridge": (*Bridge)(nil), "client-cert": (*ClientCert)(nil),
	"clock": (*Clock)(nil), "cut-sandbox": (*CutSandbox)(nil), "drop-in": (*DropIn)(nil), "file": (*File)(nil),
	"fill": (*Fill)(nil), "freeze": (*Freeze)(nil), "freezer": (*Freezer)(nil), "halt": (*Halt)(nil),
	"images": (*Images)(nil), "immutable": (*Immutable)(nil), "kill": (*Kill)(nil), "kill-task": (*KillTask)(nil),
	"litter": (*Litter)(nil), "loop-filesystem": (*LoopFS)(nil), "merge": (*Merge)(nil), "nft-table": (*Table)(nil),
	"occupy-runtime": (*Occupy)(nil), "own-dir": (*OwnDir)(nil), "pause": (*Pause)(nil), "plugin-devices": (*PluginDevices)(nil),
	"read-only": (*ReadOnly)(nil), "resume": (*Resume)(nil), "scribble": (*Scribble)(nil), "selinux": (*SELinux)(nil),
	"setting": (*Setting)(nil), "socket": (*Socket)(nil), "spare-cgroups": (*SpareCgroups)(nil),
	"stale-answer": (*StaleAnswer)(nil), "swap": (*Swap)(nil), "tasks": (*Tasks)(nil), "told": (*Told)(nil),
	"unit": (*Unit)(nil), "volumes": (*Volumes)(nil), "wall-clock": (*WallClock)(nil),
}

// Marshal stores an operation as JSON.
func Marshal(o Op) (kind string, fields json.RawMessage, err error) {
	if u, ok := o.(*Unknown); ok {
		return u.Name, u.Fields, nil
	}
	for kind, of := range kinds {
		if reflect.TypeOf(of) == reflect.TypeOf(o) {
			fields, err = json.Marshal(o)
			return kind, fields, err
		}
	}
	return "", nil, fmt.Errorf("operation %T has no name in the journal", o)
}

// Unmarshal reads an operation back. One that this version does not know becomes an *Unknown, whose Undo fails and says so,
// so that the others are undone all the same.
func Unmarshal(kind string, fields json.RawMessage) Op {
	of, ok := kinds[kind]
	if !ok {
		return &Unknown{Name: kind, Fields: fields, Reason: "this agent does not know the operation"}
	}
	o := reflect.New(reflect.TypeOf(of).Elem()).Interface().(Op)
	if err := json.Unmarshal(fields, o); err != nil {
		return &Unknown{Name: kind, Fields: fields, Reason: err.Error()}
	}
	return o
}

// Unknown stands for an operation that cannot be read.
type Unknown struct {
	Name   string
	Fields json.RawMessage
	Reason string
}

func (*Unknown) bind(Sys) {}

func (u *Unknown) err() error {
	return fmt.Errorf("operation %s: %s; recover with the agent that injected it", u.Name, u.Reason)
}

// Describe tells why it cannot be read.
func (u *Unknown) Describe() string { return u.Name + " (" + u.Reason + ")" }

// Save fails.
func (u *Unknown) Save(context.Context, Env) error { return u.err() }

// Do fails.
func (u *Unknown) Do(context.Context, Env) error { return u.err() }

// Pending fails.
func (u *Unknown) Pending(context.Context, Env) (Rest, error) { return Rest{}, u.err() }

// Undo fails.
func (u *Unknown) Undo(context.Context, Env) error { return u.err() }
