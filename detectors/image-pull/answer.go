package imagepull

import (
	"net/url"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/memo"
	"github.com/sickbay-dev/sickbay/internal/words"
)

// answer is what the error of a pull says, once the names of others are cut out of it.
type answer struct {
	reading
	text  string // what is left of the error
	asked string // host and port of the URL that it names
	token bool   // that is a token server
}

// reading is one kind of answer. Several causes share words; the table's order is from the most specific to the least.
type reading struct {
	says  string // regular expression
	cause string // of image-pull; empty where the registry has no part in it
	why   string // for the summary
	// unsure: the answer is given for other reasons as well; what tells them apart.
	unsure string
}

const (
	tagCause, authCause, tlsCause, netCause, mirrorCause = "tag-not-found", "registry-auth", "registry-tls", "registry-unreachable", "mirror-misconfigured"

	// byProxy: the runtime's own proxy is what fails. Go says a proxy's refusal by its status without the number.
	byProxy = "is asked through a proxy that does not do it"
	// A tag that is there, and of no use to this node.
	otherPlatform, otherFormat = "is not there for this node's platform", "is in a format that this runtime does not read"
	incomplete                 = "is not complete in its registry, which lacks a layer of it"

	// byPolicy: the registry has it, and a scan or rule of its owner holds it back.
	byPolicy = "does not give it out, by a policy of its own"

	// isBlocked: somebody has the runtime pull nothing from there.
	isBlocked = "is blocked by the runtime's configuration"

	isThere = "whether the repository exists: the registry gives the same answer for a missing one"
)

// The texts are those of containerd, of containers/image (CRI-O), of moby (cri-dockerd) and of registries, the same in all of them
// where they are Go's own or HTTP's. An error of the network stands at the end of a chain whose beginning says what it was for:
// "failed to authorize: failed to fetch anonymous token: … dial tcp …" is about a server that is not reached, not about a credential.
var readings = []reading{
	{says: `couldn't parse image|invalid reference format|Failed to apply default image tag|InvalidImageName`, cause: tagCause, why: "is no image reference"},
	{says: `\bis blocked in (one of )?PATH`, cause: mirrorCause, why: isBlocked},
	{says: `did not resolve to an alias|no unqualified-search registries|short name mode is enforcing`, cause: tagCause, why: "names no registry, and the runtime knows none for short names"},
	// The node's policy of signatures, whose verifiers quote errors of their own.
	{says: `Source image rejected|\bblocked pull of\b`},
	{says: `(?i)cannot be pulled due to configured policy|project_?policy_?violation|blocking policy`, cause: authCause, why: byPolicy},
	// What came was damaged on its way or in a cache.
	{says: `unexpected commit (digest|size)|failed size validation|(D|d)igest (did not match|mismatch)|does not match (the )?(expected |provided )?(manifest )?digest|verification failed for digest|(gzip|zstd|zlib): invalid|magic number mismatch|invalid character '<' looking|malformed HTTP|flate: corrupt|archive/tar: invalid|unexpected media type (text/|application/(json|xml|octet-stream)\b)`,
		cause: netCause, why: "sends something else than its manifest names: a proxy or cache on the way damages it", unsure: "pull the same image where no proxy or cache is on the way"},
	{says: `unexpected media type|unsupported compression|no processor for media-type`, cause: tagCause, why: otherFormat},
	// What a server that fails quotes is of its own disk and network.
	{says: `unexpected status\b.*?\b5\d\d [A-Z]`, cause: netCause, why: "answers with an error of its own"},
	// The node itself: its disk, its runtime, its policy.
	{says: words.NoSpaceLeftOnDevice + `|disk quota exceeded|` + words.ReadOnlyFileSystem + `|input/output error|too many open files|content digest|failed to extract layer|failed to mount|extraction snapshot|snapshotter (?:not loaded|\S+ was not found)|dial unix|rejected by policy|signature (was|is) required|SignatureValidationFailed|lchown|PATH: permission denied`},
	{says: `proxyconnect|socks connect|407 |Proxy Authentication Required|: (Forbidden|Bad Gateway|Service Unavailable|Gateway Time-?out)$|(Head|Get) (NAME|URL:): [A-Z][a-z]+( [A-Z][a-z]+)*$`, cause: netCause, why: byProxy},
	// The other side refuses the runtime's own certificate.
	{says: `remote error: tls: (certificate required|bad certificate|unknown certificate|certificate expired|expired certificate|revoked certificate|certificate revoked|unsupported certificate|access denied)`, cause: authCause, why: "wants a client certificate that the runtime does not bring"},
	{says: `failed to load hosts\.toml|failed to parse hosts|loading registries configuration|loading registries\.conf|failed to load X509 key pair`, cause: mirrorCause, why: "it cannot be read"},
	{says: `x509:|tls: |unable to (read|load) CA cert|server gave HTTP response to HTTPS client|http: server gave HTTP`, cause: tlsCause},
	{says: `dial (tcp|udp)|\blookup\b|i/o timeout|` + words.NoSuchHost + `|` + words.NoRouteToHost + `|network is unreachable|` + words.ConnectionRefused + `|connection reset|use of closed network connection|broken pipe|server misbehaving|TLS handshake timeout|Client\.Timeout|context (deadline exceeded|canceled)|request canceled|\bEOF\b|http2: |stream error: |connect: `, cause: netCause},
	{says: `\b429 |(?i:too ?many ?requests|rate limit)`, cause: authCause, why: "answers no more pulls for now: its limit for this address or account is reached", unsure: "whether it is the limit of an anonymous address: a credential has one of its own, and a limit ends by itself, within hours"},
	{says: `no match for platform|not provide the specified platform|cannot be used on this platform|no matching manifest for|no image found in (image index|manifest list)|no child with platform`, cause: tagCause, why: otherPlatform},
	{says: `no longer supported since containerd|image-specific operation on artifact|unsupported manifest (schema|media)|manifest schema|schema ?[vV]?(ersion )?1\b|unsupported MIMEType|not implemented: media type`, cause: tagCause, why: otherFormat},
	{says: `blob unknown|BLOB_UNKNOWN`, cause: tagCause, why: incomplete},
	{says: `\b40[45] |\b410 |Code: 404`, cause: tagCause},
	{says: `\b401 |Code: 401`, cause: authCause},
	{says: `\b403 |Code: 403`, cause: authCause, unsure: isThere + ", and whether the credential may pull it"},
	{says: `\b[345]\d\d [A-Z(<]|Code: [45]\d\d|missing Location header|stopped after \d+ redirects`, cause: netCause, why: "answers with an error of its own"},
	{says: words.NoBasicAuthCredentials + `|invalid username/password|authentication required|incorrect username or password|[Tt]oken (has|is) expired|Authorization Token has expired`, cause: authCause},
	{says: `manifest unknown|MANIFEST_UNKNOWN|[Nn]ame unknown|NAME_UNKNOWN|repository name not known|NotFound:`, cause: tagCause},
	{says: words.PullAccessDenied + `|` + words.RepositoryMayRequire + `|` + words.AuthorizationFailed + `|unauthorized|UNAUTHORIZED|denied\b|DENIED|insufficient_scope|failed to authorize|fetch (anonymous|oauth) token`, cause: authCause, unsure: isThere},
	{says: `not found\b|does not exist`, cause: tagCause},
}

var compiled = func() []pattern {
	out := make([]pattern, len(readings))
	for i, r := range readings {
		parsed, err := syntax.Parse(r.says, syntax.Perl)
		if err != nil {
			panic(err)
		}
		out[i] = pattern{regexp.MustCompile(r.says), needed(parsed)}
	}
	return out
}()

// pattern is a regular expression, and the words of which any match has one: most texts have none, and looking for a word costs little.
type pattern struct {
	*regexp.Regexp
	needs []string // none: it is not known
}

func (p pattern) in(text string) bool {
	return (len(p.needs) == 0 || slices.ContainsFunc(p.needs, func(w string) bool { return strings.Contains(text, w) })) && p.MatchString(text)
}

// needed are words one of which is in whatever the expression matches, none where there are no such words.
func needed(re *syntax.Regexp) (words []string) {
	switch re.Op {
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase == 0 {
			words = []string{string(re.Rune)}
		}
	case syntax.OpCapture, syntax.OpPlus:
		words = needed(re.Sub[0])
	case syntax.OpConcat: // the part with the longest words says most
		shortest := func(words []string) (n int) {
			for i, w := range words {
				if i == 0 || len(w) < n {
					n = len(w)
				}
			}
			return n
		}
		for _, part := range re.Sub {
			if w := needed(part); shortest(w) > shortest(words) {
				words = w
			}
		}
	case syntax.OpAlternate:
		for _, way := range re.Sub {
			w := needed(way)
			if len(w) == 0 {
				return nil
			}
			words = append(words, w...)
		}
	}
	return words
}

// mirrorsFailed stands in CRI-O's error before what the registry itself gave, which decides (containers/image docker/docker_image_src.go).
var mirrorsFailed = regexp.MustCompile(`(?s)\(Mirrors also failed: (.*?\])\): `)

// read is what the error of a pull says. Where the registry itself is out of reach, what a mirror refused is what can be mended.
func read(message, image string) answer {
	if m := mirrorsFailed.FindStringSubmatch(message); m != nil {
		own := readOne(mirrorsFailed.ReplaceAllString(message, ""), image)
		if own.cause != netCause {
			return own
		}
		if a := readOne(m[1], image); a.cause == tlsCause || a.cause == authCause {
			return a
		}
		return own
	}
	return readOne(message, image)
}

// readOne is asked the same at every look while a pod waits.
func readOne(message, image string) answer { return readAgain([2]string{message, image}) }

var readAgain = memo.Of(func(of [2]string) answer {
	message, image := of[0], of[1]
	a := answer{}
	a.text, a.asked, a.token = cut(message, image)
	for i, is := range compiled {
		if is.in(a.text) {
			a.reading = readings[i]
			break
		}
	}
	switch {
	case a.token && a.cause == tagCause: // a token server that is not there refuses everybody
		a.cause, a.unsure = authCause, "whether "+a.asked+" is the registry's token server"
	case a.cause == authCause && a.unsure == "" && a.why == "" && hidesMissing(image) && !strings.Contains(a.text, words.NoBasicAuthCredentials):
		a.unsure = isThere
	}
	return a
})

// hidesMissing: registries that answer for a repository that does not exist as for one that is private.
func hidesMissing(image string) bool {
	host := hostOf(image)
	return slices.ContainsFunc([]string{"docker.io", "quay.io", "ghcr.io", "gcr.io", "pkg.dev", "registry.gitlab.com", "public.ecr.aws"}, func(s string) bool {
		return host == s || strings.HasSuffix(host, "."+s)
	})
}

var (
	urlIn     = regexp.MustCompile(`(?:https?|docker)://[^\s"\\,)]+`)
	tokenPath = regexp.MustCompile(`(?i)/(token|auth)/?$`)
	jsonCode  = regexp.MustCompile(`\\?"code\\?":\s*\\?"([A-Za-z_]+)\\?"`)
	quoted    = regexp.MustCompile(`\\*"[^"\\]*\\*"`)
	lookup    = regexp.MustCompile(`\blookup \S+`)
	pathIn    = regexp.MustCompile(`(^|\s)/[^\s:]+`)
	digestIn  = regexp.MustCompile(`[@-]?sha256:[0-9a-f]*`)
	hostPort  = regexp.MustCompile(`\[?[0-9A-Fa-f.:]*[0-9A-Fa-f]\]?:\d+\b`)
)

// preceding are words before which an error names something.
var preceding = []string{"for", "in", "from", "image", "reference", "repository", "registry", "source", "manifest", "index", "name"}

// isMeant tells that a text ends with such a word and a space.
func isMeant(before string) bool {
	before, spaced := strings.CutSuffix(before, " ")
	last := before[strings.LastIndexFunc(before, func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_'
	})+1:]
	return spaced && slices.Contains(preceding, last)
}

// cut takes out of an error what others have named: the image, URLs and their hosts, whatever stands in quotes, files, addresses. A
// registry's error code in JSON stays. asked is the host of the first URL: what was asked; an answer may quote another behind it.
func cut(message, image string) (text, asked string, token bool) {
	text = strings.TrimPrefix(message, "(combined from similar events): ")
	text = jsonCode.ReplaceAllString(text, " $1 ")
	for _, found := range urlIn.FindAllString(text, -1) {
		if u, err := url.Parse(strings.TrimRight(found, ":.,")); err == nil && u.Host != "" && u.Scheme != "docker" {
			asked = u.Host
			token = tokenPath.MatchString(u.Path)
			break
		}
	}
	text = urlIn.ReplaceAllStringFunc(text, func(s string) string {
		if strings.HasSuffix(s, ":") { // of the error, not of the URL
			return "URL:"
		}
		return "URL"
	})
	text = quoted.ReplaceAllString(text, "NAME")
	text = withoutNames(text, names(image))
	text = lookup.ReplaceAllString(text, "lookup NAME")
	text = hostPort.ReplaceAllString(text, "ADDRESS")
	text = pathIn.ReplaceAllString(text, "${1}PATH")
	return digestIn.ReplaceAllString(text, " DIGEST"), asked, token
}

// withoutNames puts IMAGE where an error names an image. A full reference can stand anywhere, a short one only where a name is meant: an
// image may be called "denied". It is no regular expression, since each image would need one of its own.
func withoutNames(text string, refs []string) string {
	var b strings.Builder
	done := 0
	for i := range text {
		if i < done || i > 0 && !strings.ContainsRune(" \t\n\"'(", rune(text[i-1])) {
			continue
		}
		meant := isMeant(text[:i])
		for _, ref := range refs {
			if !strings.HasPrefix(text[i:], ref) || !meant && !strings.ContainsAny(ref, ":/@") {
				continue
			}
			end := i + len(ref)
			if strings.HasPrefix(text[end:], "@") { // its digest
				if n := strings.IndexAny(text[end:], " \t\n\"',)"); n > 0 {
					end += n
				} else {
					end = len(text)
				}
			}
			if end < len(text) && !strings.ContainsRune(" \t\n:,\"')", rune(text[end])) {
				continue
			}
			b.WriteString(text[done:i] + "IMAGE")
			done = end
			break
		}
	}
	return b.String() + text[done:]
}

// names are the forms in which an error names an image or a part of its reference, the longest first.
func names(image string) []string {
	full := canonical(image)
	bare := strings.TrimPrefix(strings.TrimPrefix(full, "docker.io/"), "library/")
	out := []string{image, full, strings.TrimPrefix(full, "docker.io/"), bare}
	for _, ref := range slices.Clone(out) {
		out = append(out, repository(ref))
	}
	out = append(out, hostOf(image), repository(strings.TrimPrefix(full, hostOf(full)+"/")))
	if _, tag, ok := strings.Cut(strings.TrimPrefix(full, repository(full)), ":"); ok {
		out = append(out, tag)
	}
	slices.SortFunc(out, func(a, b string) int { return len(b) - len(a) })
	return slices.Compact(slices.DeleteFunc(out, func(s string) bool { return s == "" }))
}

// proxied tells whether the runtime reaches the host through a proxy: dials from the node tell nothing of its way then.
func proxied(o *v1alpha1.Observation, host string) bool {
	e := o.Runtime.Environment
	if e.HTTPSProxy == "" && e.HTTPProxy == "" {
		return false
	}
	name, _, _ := strings.Cut(host, ":")
	return !slices.ContainsFunc(strings.FieldsFunc(e.NoProxy, func(c rune) bool { return c == ',' || c == ' ' }), func(no string) bool {
		no, _, _ = strings.Cut(strings.TrimPrefix(strings.TrimPrefix(no, "*"), "."), ":")
		return no == "*" || no != "" && (name == no || strings.HasSuffix(name, "."+no))
	})
}
