package op

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func runtimeClient() (client runtimeapi.RuntimeServiceClient, closeConn func() error, err error) {
	criSocket := "unix://" + CRIOf(host{}).Socket
	conn, err := grpc.NewClient(criSocket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, nil, fmt.Errorf("connecting to %s: %w", criSocket, err)
	}
	return runtimeapi.NewRuntimeServiceClient(conn), conn.Close, nil
}

func (host) RemoveSandbox(ctx context.Context, id string) error {
	client, closeConn, err := runtimeClient()
	if err != nil {
		return err
	}
	defer closeConn()
	if _, err := client.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: id}); err != nil {
		return fmt.Errorf("stopping sandbox %s: %w", id, err)
	}
	if _, err := client.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: id}); err != nil {
		return fmt.Errorf("removing sandbox %s: %w", id, err)
	}
	return nil
}

func (host) UpdateContainer(ctx context.Context, id string) error {
	client, closeConn, err := runtimeClient()
	if err != nil {
		return err
	}
	defer closeConn()
	// Resources that name nothing change nothing, and are written down all the same.
	_, err = client.UpdateContainerResources(ctx, &runtimeapi.UpdateContainerResourcesRequest{ContainerId: id, Linux: &runtimeapi.LinuxContainerResources{}})
	switch {
	case status.Code(err) == codes.DeadlineExceeded:
		return fmt.Errorf("updating container %s: %w", id, context.DeadlineExceeded)
	case err != nil:
		return fmt.Errorf("updating container %s: %w", id, err)
	}
	return nil
}
