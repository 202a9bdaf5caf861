package main

import (
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/reflection"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// registerReflection has a server tell its services and their messages: those that Python's are
// made of, and health's and reflection's own.
func registerReflection(server *grpc.Server, files []byte) {
	options := reflection.ServerOptions{Services: server, DescriptorResolver: &resolver{content: files}}
	reflectionv1.RegisterServerReflectionServer(server, reflection.NewServerV1(options))
	reflectionv1alpha.RegisterServerReflectionServer(server, reflection.NewServer(options))
}

// resolver reads the descriptors when somebody first asks: few do, and it takes a while.
type resolver struct {
	content []byte
	once    sync.Once
	files   *protoregistry.Files
}

func (r *resolver) registry() *protoregistry.Files {
	r.once.Do(func() {
		r.files = protoregistry.GlobalFiles
		set := &descriptorpb.FileDescriptorSet{}
		if err := proto.Unmarshal(r.content, set); err != nil {
			complain("reflection: %v", err)
			return
		}
		files, err := protodesc.NewFiles(set)
		if err != nil {
			complain("reflection: %v", err)
			return
		}
		r.files = files
	})
	return r.files
}

func (r *resolver) FindFileByPath(path string) (protoreflect.FileDescriptor, error) {
	if found, err := r.registry().FindFileByPath(path); err == nil {
		return found, nil
	}
	return protoregistry.GlobalFiles.FindFileByPath(path)
}

func (r *resolver) FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error) {
	if found, err := r.registry().FindDescriptorByName(name); err == nil {
		return found, nil
	}
	return protoregistry.GlobalFiles.FindDescriptorByName(name)
}
