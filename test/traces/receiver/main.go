// An OTLP/HTTP receiver of traces made of OpenTelemetry's own Go code: what it understands of the gateway's requests it prints, one span a line, as JSON.
// The first line is the port that it listens on.
package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

type span struct {
	TraceID    string         `json:"traceId"`
	SpanID     string         `json:"spanId"`
	ParentID   string         `json:"parentSpanId"`
	Name       string         `json:"name"`
	Kind       string         `json:"kind"`
	StartNano  string         `json:"startNano"`
	EndNano    string         `json:"endNano"`
	Status     string         `json:"status"`
	Message    string         `json:"message"`
	Attributes map[string]any `json:"attributes"`
	Resource   map[string]any `json:"resource"`
}

func valueOf(value *common.AnyValue) any {
	switch v := value.GetValue().(type) {
	case *common.AnyValue_StringValue:
		return v.StringValue
	case *common.AnyValue_BoolValue:
		return v.BoolValue
	case *common.AnyValue_IntValue:
		return v.IntValue
	case *common.AnyValue_DoubleValue:
		return v.DoubleValue
	case *common.AnyValue_ArrayValue:
		values := []any{}
		for _, each := range v.ArrayValue.Values {
			values = append(values, valueOf(each))
		}
		return values
	default:
		return nil
	}
}

func attributesOf(pairs []*common.KeyValue) map[string]any {
	attributes := map[string]any{}
	for _, pair := range pairs {
		attributes[pair.Key] = valueOf(pair.Value)
	}
	return attributes
}

// The request message of the collector's service is the same on the wire, and its package would bring gRPC.
func spansOf(body []byte) ([]span, error) {
	var request trace.TracesData
	if err := proto.Unmarshal(body, &request); err != nil {
		return nil, err
	}
	spans := []span{}
	for _, resource := range request.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			for _, each := range scope.Spans {
				spans = append(spans, span{
					TraceID:    hex.EncodeToString(each.TraceId),
					SpanID:     hex.EncodeToString(each.SpanId),
					ParentID:   hex.EncodeToString(each.ParentSpanId),
					Name:       each.Name,
					Kind:       each.Kind.String(),
					StartNano:  fmt.Sprint(each.StartTimeUnixNano),
					EndNano:    fmt.Sprint(each.EndTimeUnixNano),
					Status:     each.Status.GetCode().String(),
					Message:    each.Status.GetMessage(),
					Attributes: attributesOf(each.Attributes),
					Resource:   attributesOf(resource.Resource.GetAttributes()),
				})
			}
		}
	}
	return spans, nil
}

func receive(writer http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		http.Error(writer, err.Error(), http.StatusBadRequest)
		return
	}
	spans, err := spansOf(body)
	if err != nil {
		http.Error(writer, err.Error(), http.StatusBadRequest)
		return
	}
	for _, each := range spans {
		line, err := json.Marshal(each)
		if err != nil {
			http.Error(writer, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Println(string(line))
	}
	writer.Header().Set("Content-Type", "application/x-protobuf")
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	http.HandleFunc("POST /v1/traces", receive)
	fmt.Fprintln(os.Stderr, http.Serve(listener, nil))
	os.Exit(1)
}
