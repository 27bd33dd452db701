package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

const (
	// helperTimeout bounds one helper pod: its image is on every node, so it takes seconds unless the node is ill.
	helperTimeout = 2 * time.Minute
	helperPoll    = 500 * time.Millisecond
)

type provisioner struct {
	client    kubernetes.Interface
	namespace string
	image     string
}

// Provision makes the directory on the chosen node and answers with a volume bound to that node.
func (p *provisioner) Provision(ctx context.Context, o controller.ProvisionOptions) (*corev1.PersistentVolume, controller.ProvisioningState, error) {
	if o.SelectedNodeName == "" {
		return nil, controller.ProvisioningFinished, fmt.Errorf("claim %s/%s has no node chosen: its class must have volumeBindingMode WaitForFirstConsumer", o.PVC.Namespace, o.PVC.Name)
	}
	if o.PVC.Spec.Selector != nil {
		return nil, controller.ProvisioningFinished, fmt.Errorf("claim %s/%s has a selector, which %s does not support", o.PVC.Namespace, o.PVC.Name, provisionerName)
	}
	if o.PVC.Spec.VolumeMode != nil && *o.PVC.Spec.VolumeMode == corev1.PersistentVolumeBlock {
		return nil, controller.ProvisioningFinished, fmt.Errorf("claim %s/%s wants a block device, which %s does not support", o.PVC.Namespace, o.PVC.Name, provisionerName)
	}
	dir := filepath.Join(root, o.PVName)
	if err := p.helper(ctx, "make", o.SelectedNodeName, o.PVName, dir); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	kind := corev1.HostPathDirectoryOrCreate
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: o.PVName},
		Spec: corev1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *o.StorageClass.ReclaimPolicy,
			AccessModes:                   o.PVC.Spec.AccessModes,
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: o.PVC.Spec.Resources.Requests[corev1.ResourceStorage]},
			PersistentVolumeSource:        corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: dir, Type: &kind}},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{o.SelectedNodeName}}},
			}}}},
		},
	}, controller.ProvisioningFinished, nil
}

// Delete removes the directory on the volume's node. A node that is gone took the directory with it.
func (p *provisioner) Delete(ctx context.Context, pv *corev1.PersistentVolume) error {
	node, err := volumeNode(pv)
	if err != nil {
		return err
	}
	if _, err := p.client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{}); apierrors.IsNotFound(err) {
		return nil
	} else if err != nil {
		return fmt.Errorf("looking for node %s of volume %s: %w", node, pv.Name, err)
	}
	return p.helper(ctx, "remove", node, pv.Name, pv.Spec.HostPath.Path)
}

func volumeNode(pv *corev1.PersistentVolume) (string, error) {
	if pv.Spec.HostPath != nil && pv.Spec.NodeAffinity != nil && pv.Spec.NodeAffinity.Required != nil {
		for _, term := range pv.Spec.NodeAffinity.Required.NodeSelectorTerms {
			for _, e := range term.MatchExpressions {
				if e.Key == corev1.LabelHostname && e.Operator == corev1.NodeSelectorOpIn && len(e.Values) == 1 {
					return e.Values[0], nil
				}
			}
		}
	}
	return "", fmt.Errorf("volume %s is not one of %s: it names no directory on one node", pv.Name, provisionerName)
}

// helper runs one verb in a pod on the node, waits for its end and removes the pod. A pod left over by an earlier try of
// the same verb is used: its name is made of verb and volume.
func (p *provisioner) helper(ctx context.Context, verb, node, volume, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, helperTimeout)
	defer cancel()
	pods := p.client.CoreV1().Pods(p.namespace)
	directory := corev1.HostPathDirectoryOrCreate
	name := "helper-" + verb + "-" + volume
	noToken := false
	_, err := pods.Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": "local-path-helper"}},
		Spec: corev1.PodSpec{
			NodeName:                     node,
			RestartPolicy:                corev1.RestartPolicyNever,
			PriorityClassName:            "system-node-critical",
			AutomountServiceAccountToken: &noToken,
			HostNetwork:                  true, // needs no network; so it also works while the node's CNI does not
			Tolerations:                  []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			Containers: []corev1.Container{{
				Name: "helper", Image: p.image, ImagePullPolicy: corev1.PullIfNotPresent,
				Args:         []string{verb, dir},
				VolumeMounts: []corev1.VolumeMount{{Name: "root", MountPath: root}},
			}},
			Volumes: []corev1.Volume{{Name: "root", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: root, Type: &directory}}}},
		},
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("starting pod %s on node %s to %s %s: %w", name, node, verb, dir, err)
	}
	phase := corev1.PodUnknown
	err = wait.PollUntilContextCancel(ctx, helperPoll, false, func(ctx context.Context) (bool, error) {
		pod, err := pods.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		phase = pod.Status.Phase
		return phase == corev1.PodSucceeded || phase == corev1.PodFailed, nil
	})
	// A fresh context: the pod must go even when the wait ran out.
	clean, stop := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer stop()
	zero := int64(0)
	if derr := pods.Delete(clean, name, metav1.DeleteOptions{GracePeriodSeconds: &zero}); derr != nil && !apierrors.IsNotFound(derr) && err == nil {
		err = derr
	}
	switch {
	case err != nil:
		return fmt.Errorf("pod %s on node %s to %s %s (last phase %s): %w", name, node, verb, dir, phase, err)
	case phase == corev1.PodFailed:
		return fmt.Errorf("pod %s on node %s could not %s %s: see its log", name, node, verb, dir)
	}
	return nil
}
