// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
)

// manifests are the objects of kubernetes.yaml, of which each kind is there once.
type manifests struct {
	deployment *appsv1.Deployment
	service    *corev1.Service
	budget     *policyv1.PodDisruptionBudget
	network    *networkingv1.NetworkPolicy
}

// pod is the only container of the only pod.
func (m *manifests) pod() (corev1.PodSpec, corev1.Container) {
	spec := m.deployment.Spec.Template.Spec
	return spec, spec.Containers[0]
}

// kubernetes reads the manifests as the API server does, strictly.
func kubernetes(t *testing.T) *manifests {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{appsv1.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	m := new(manifests)
	for text := range strings.SplitSeq(read(t, "deploy/kubernetes.yaml"), "\n---\n") {
		object, _, err := decoder.Decode([]byte(text), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		switch object := object.(type) {
		case *appsv1.Deployment:
			m.deployment = object
		case *corev1.Service:
			m.service = object
		case *policyv1.PodDisruptionBudget:
			m.budget = object
		case *networkingv1.NetworkPolicy:
			m.network = object
		default:
			t.Fatalf("the test knows no %T", object)
		}
	}
	if m.deployment == nil || m.service == nil || m.budget == nil || m.network == nil {
		t.Fatalf("something is missing: %+v", m)
	}
	wantSame(t, "containers", len(m.deployment.Spec.Template.Spec.Containers), 1)
	return m
}

// podAddress stands for the address that a pod is given.
const podAddress = "10.1.2.3"

// podEnvironment returns the variables of the container as the kubelet makes them.
func podEnvironment(t *testing.T, container corev1.Container) environment {
	t.Helper()
	e := make(environment)
	for _, variable := range container.Env {
		value := variable.Value
		if from := variable.ValueFrom; from != nil {
			switch {
			case from.FieldRef != nil && from.FieldRef.FieldPath == "status.podIP":
				value = podAddress
			case from.SecretKeyRef != nil:
				value = "postgres://secret"
				wantSecret(t, from.SecretKeyRef.Name, from.SecretKeyRef.Key)
			default:
				t.Errorf("%s comes from where the test does not know", variable.Name)
			}
		}
		for name, earlier := range e {
			value = strings.ReplaceAll(value, "$("+name+")", earlier)
		}
		if strings.Contains(value, "$(") {
			t.Errorf("%s: %s names a variable that is not before it", variable.Name, value)
		}
		e[variable.Name] = value
	}
	delete(e, "POD_IP") // not the program's
	return e
}

// wantSecret holds that the page says how to make a key of a secret.
func wantSecret(t *testing.T, name, key string) {
	t.Helper()
	page := read(t, "deploy/README.md")
	if !strings.Contains(page, "kubectl create secret generic "+name+" ") || !strings.Contains(page, "--from-literal="+key+"=") {
		t.Errorf("the page does not say how to make %s of the secret %s", key, name)
	}
}

// TestKubernetesFile holds the manifests against the program and its parts against
// each other.
func TestKubernetesFile(t *testing.T) {
	t.Parallel()
	m := kubernetes(t)
	spec, container := m.pod()
	e := podEnvironment(t, container)
	e.check(t)

	grace, lameDuck := e.duration(t, "TROUPE_GRACE_PERIOD"), e.duration(t, "TROUPE_LAME_DUCK")
	if end := spec.TerminationGracePeriodSeconds; end == nil || time.Duration(*end)*time.Second <= grace {
		t.Errorf("a pod may take %s to stop, and is killed before", grace)
	}
	if lameDuck >= grace {
		t.Error("nothing is left of the time to stop")
	}
	ready := container.ReadinessProbe
	if noticed := time.Duration(ready.PeriodSeconds*ready.FailureThreshold+ready.TimeoutSeconds) * time.Second; noticed >= lameDuck {
		t.Errorf("that a pod stops is noticed within %s, and it goes on for %s only", noticed, lameDuck)
	}
	for name, probe := range map[string]*corev1.Probe{"/readyz startup": container.StartupProbe, "/readyz readiness": ready, "/healthz liveness": container.LivenessProbe} {
		path, _, _ := strings.Cut(name, " ")
		wantSame(t, name, fmt.Sprint(probe.HTTPGet.Path, " ", &probe.HTTPGet.Port), path+" http")
	}
	ports := make(map[string]string)
	for _, port := range container.Ports {
		ports[port.Name] = fmt.Sprint(port.ContainerPort)
	}
	wantSame(t, "port http", ports["http"], e.port(t, "TROUPE_LISTEN"))
	wantSame(t, "port node", ports["node"], e.port(t, "TROUPE_CLUSTER_LISTEN"))
	wantSame(t, "GOMEMLIMIT in tenths of the limit", tenths(t, e["GOMEMLIMIT"], container.Resources.Limits.Memory()), 8)

	files := make(map[string]bool)
	for _, mount := range container.VolumeMounts {
		for _, volume := range spec.Volumes {
			for _, item := range volume.Secret.Items {
				if mount.Name == volume.Name {
					files[mount.MountPath+"/"+item.Path] = mount.ReadOnly && *volume.Secret.DefaultMode == 0o440
					wantSecret(t, volume.Secret.SecretName, item.Key)
				}
			}
		}
	}
	for _, name := range []string{chatPassword, "TROUPE_CLUSTER_SECRET_FILE"} {
		if !files[e[name]] {
			t.Errorf("%s: there is no private file %s among %v", name, e[name], files)
		}
	}
}

// tenths returns how many tenths of a limit the Go runtime's own is.
func tenths(t *testing.T, text string, limit *resource.Quantity) int64 {
	t.Helper()
	soft, err := resource.ParseQuantity(strings.TrimSuffix(text, "B"))
	if err != nil {
		t.Fatalf("GOMEMLIMIT: %v", err)
	}
	return soft.Value() * 10 / limit.Value()
}

// TestKubernetesCluster holds what the manifests say about the pods together.
func TestKubernetesCluster(t *testing.T) {
	t.Parallel()
	m := kubernetes(t)
	spec, container := m.pod()
	labels := fmt.Sprint(m.deployment.Spec.Template.Labels)
	for what, selector := range map[string]map[string]string{
		"deployment": m.deployment.Spec.Selector.MatchLabels,
		"service":    m.service.Spec.Selector,
		"budget":     m.budget.Spec.Selector.MatchLabels,
		"network":    m.network.Spec.PodSelector.MatchLabels,
		"spread":     spec.TopologySpreadConstraints[0].LabelSelector.MatchLabels,
	} {
		wantSame(t, what+": selected", fmt.Sprint(selector), labels)
	}
	wantSame(t, "service: target", m.service.Spec.Ports[0].TargetPort.String(), "http")
	wantSame(t, "budget: pods that may go at once", m.budget.Spec.MaxUnavailable.String(), "1")
	update := m.deployment.Spec.Strategy.RollingUpdate
	wantSame(t, "update: pods less, pods more", update.MaxUnavailable.String()+", "+update.MaxSurge.String(), "0, 1")
	if *m.deployment.Spec.Replicas < 3 {
		t.Error("fewer than three nodes")
	}

	// The port of clients is open to all, that of nodes to the pods themselves.
	wantSame(t, "network: rules", len(m.network.Spec.Ingress), 2)
	for _, rule := range m.network.Spec.Ingress {
		wantSame(t, "network: ports of a rule", len(rule.Ports), 1)
		switch port := rule.Ports[0].Port.String(); port {
		case "http":
		case "node":
			wantSame(t, "network: who reaches nodes", len(rule.From), 1)
			wantSame(t, "network: who reaches nodes", fmt.Sprint(rule.From[0].PodSelector.MatchLabels), labels)
		default:
			t.Errorf("network: a rule for port %s", port)
		}
	}

	wantSame(t, "no token of the service account", *spec.AutomountServiceAccountToken, false)
	wantSame(t, "not root", *spec.SecurityContext.RunAsNonRoot, true)
	wantSame(t, "system calls", spec.SecurityContext.SeccompProfile.Type, corev1.SeccompProfileTypeRuntimeDefault)
	own := container.SecurityContext
	wantSame(t, "no escalation", *own.AllowPrivilegeEscalation, false)
	wantSame(t, "read only", *own.ReadOnlyRootFilesystem, true)
	wantSame(t, "capabilities dropped", fmt.Sprint(own.Capabilities.Drop), "[ALL]")
	if container.Resources.Requests.Cpu().IsZero() || container.Resources.Requests.Memory().IsZero() {
		t.Error("the pod asks for no processor or no memory")
	}
}
