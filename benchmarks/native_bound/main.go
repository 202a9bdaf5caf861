// Command native_bound is what a server in front of TensorFlow's C API could reach without any meaning: it knows no
// names, types or shapes. A request ends with float32 [n, 784]; the answer is float32 [n, 10]. What comes while a batch
// runs is the next batch.
//
//	native_bound -grpc 127.0.0.1:8500 -http 127.0.0.1:8501 -model FOLDER -input serving_default_images:0 -output …:0
package main

/*
#include <stdlib.h>
#include <string.h>
#include "tensorflow/c/c_api.h"

static void copy(TF_Tensor* to, size_t offset, const void* from, size_t size) {
	memcpy((char*)TF_TensorData(to) + offset, from, size);
}
*/
import "C"

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"unsafe"

	"google.golang.org/grpc"
)

const (
	rowBytes    = 784 * 4
	answerBytes = 10 * 4
	mostRows    = 2048
)

// question is a request that waits for its share of a batch.
type question struct {
	pixels []byte
	answer chan []byte
}

// model is a SavedModel that TensorFlow has loaded.
type model struct {
	session       *C.TF_Session
	input, output C.TF_Output
	asked         chan question
}

func load(folder, input, output string) *model {
	status, graph, options := C.TF_NewStatus(), C.TF_NewGraph(), C.TF_NewSessionOptions()
	path, tag := C.CString(folder), C.CString("serve")
	session := C.TF_LoadSessionFromSavedModel(options, nil, path, &tag, 1, graph, nil, status)
	check(status)
	return &model{session, tensor(graph, input), tensor(graph, output), make(chan question, 1024)}
}

func tensor(graph *C.TF_Graph, name string) C.TF_Output {
	operation, index, _ := strings.Cut(name, ":")
	number, _ := strconv.Atoi(index)
	found := C.TF_GraphOperationByName(graph, C.CString(operation))
	if found == nil {
		log.Fatalf("no operation %s", operation)
	}
	return C.TF_Output{oper: found, index: C.int(number)}
}

func check(status *C.TF_Status) {
	if C.TF_GetCode(status) != C.TF_OK {
		log.Fatal(C.GoString(C.TF_Message(status)))
	}
}

// run answers batches: all that waits is one.
func (m *model) run() {
	status := C.TF_NewStatus()
	for first := range m.asked {
		batch, size := []question{first}, len(first.pixels)
	collecting:
		for size < mostRows*rowBytes {
			select {
			case next := <-m.asked:
				batch = append(batch, next)
				size += len(next.pixels)
			default:
				break collecting
			}
		}
		shape := [2]C.int64_t{C.int64_t(size / rowBytes), 784}
		in := C.TF_AllocateTensor(C.TF_FLOAT, &shape[0], 2, C.size_t(size))
		offset := 0
		for _, one := range batch {
			C.copy(in, C.size_t(offset), unsafe.Pointer(&one.pixels[0]), C.size_t(len(one.pixels)))
			offset += len(one.pixels)
		}
		var out *C.TF_Tensor
		C.TF_SessionRun(m.session, nil, &m.input, &in, 1, &m.output, &out, 1, nil, 0, nil, status)
		check(status)
		answers := C.GoBytes(C.TF_TensorData(out), C.int(C.TF_TensorByteSize(out)))
		C.TF_DeleteTensor(in)
		C.TF_DeleteTensor(out)
		for _, one := range batch {
			share := len(one.pixels) / rowBytes * answerBytes
			one.answer <- answers[:share]
			answers = answers[share:]
		}
	}
}

// answer takes a request whose end is pixels.
func (m *model) answer(request []byte) []byte {
	one := question{request[len(request)%rowBytes:], make(chan []byte, 1)}
	m.asked <- one
	return <-one.answer
}

func (m *model) ServeHTTP(writer http.ResponseWriter, request *http.Request) {
	body := make([]byte, request.ContentLength)
	if _, err := io.ReadFull(request.Body, body); err != nil {
		http.Error(writer, err.Error(), http.StatusBadRequest)
		return
	}
	writer.Write(m.answer(body))
}

// raw passes messages through as bytes.
type raw struct{}

func (raw) Name() string                        { return "proto" }
func (raw) Marshal(message any) ([]byte, error) { return message.([]byte), nil }
func (raw) Unmarshal(data []byte, message any) error {
	*message.(*[]byte) = append([]byte(nil), data...)
	return nil
}

// predict answers as `TensorProto.float_val` would, alone.
func predict(
	m any, _ context.Context, read func(any) error, _ grpc.UnaryServerInterceptor,
) (any, error) {
	var request []byte
	if err := read(&request); err != nil {
		return nil, err
	}
	floats := m.(*model).answer(request)
	head := binary.AppendUvarint([]byte{5<<3 | 2}, uint64(len(floats)))
	return append(head, floats...), nil
}

func main() {
	grpcAddress := flag.String("grpc", "", "where gRPC is answered")
	httpAddress := flag.String("http", "", "where HTTP is answered")
	folder := flag.String("model", "", "folder of the SavedModel")
	input := flag.String("input", "", "name of the input's tensor")
	output := flag.String("output", "", "name of the output's tensor")
	flag.Parse()
	m := load(*folder, *input, *output)
	go m.run()
	listener, err := net.Listen("tcp", *grpcAddress)
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(grpc.ForceServerCodec(raw{}))
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "tensorflow.serving.PredictionService",
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Predict", Handler: predict}},
	}, m)
	go func() { log.Fatal(server.Serve(listener)) }()
	fmt.Println("serving")
	log.Fatal(http.ListenAndServe(*httpAddress, m))
}
