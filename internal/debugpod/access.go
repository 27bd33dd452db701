package debugpod

import (
	"context"
	"fmt"
	"strings"
	"sync"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// needs are what a session does, in the order in which a Role would list it.
func needs(namespace string) []authorizationv1.ResourceAttributes {
	pods := func(verb, sub string) authorizationv1.ResourceAttributes {
		return authorizationv1.ResourceAttributes{Namespace: namespace, Verb: verb, Resource: "pods", Subresource: sub}
	}
	return []authorizationv1.ResourceAttributes{
		{Verb: "list", Resource: "nodes"}, {Verb: "get", Resource: "nodes"},
		pods("create", ""), pods("get", ""), pods("list", ""), pods("delete", ""), pods("create", "exec"),
	}
}

// ForbiddenError names what the user of a context may not do.
type ForbiddenError struct {
	Context string
	Missing []string
}

func (e *ForbiddenError) Error() string {
	return fmt.Sprintf("the user of context %s may not %s, which reading nodes through the API needs: nothing was started", e.Context, strings.Join(e.Missing, ", nor "))
}

// allowed asks the API server for everything that is needed, before anything is made.
func allowed(ctx context.Context, o Options) error {
	ctx, cancel := context.WithTimeout(ctx, timeoutscale.Bound(askBound))
	defer cancel()
	asked := needs(o.Namespace)
	missing, errs := make([]string, len(asked)), make([]error, len(asked))
	var wg sync.WaitGroup
	for i, a := range asked {
		wg.Go(func() {
			r, err := o.Kube.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
				Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &a},
			}, metav1.CreateOptions{})
			switch {
			case err != nil:
				errs[i] = err
			case !r.Status.Allowed:
				missing[i] = phrase(a)
			}
		})
	}
	wg.Wait()
	e := &ForbiddenError{Context: o.Context}
	for i := range asked {
		if errs[i] != nil {
			return fmt.Errorf("ask the API server what may be done: %w", errs[i])
		}
		if missing[i] != "" {
			e.Missing = append(e.Missing, missing[i])
		}
	}
	if len(e.Missing) > 0 {
		return e
	}
	return nil
}

func phrase(a authorizationv1.ResourceAttributes) string {
	s := a.Verb + " " + a.Resource
	if a.Subresource != "" {
		s += "/" + a.Subresource
	}
	if a.Namespace != "" {
		s += " in namespace " + a.Namespace
	}
	return s
}
