package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
)

// mostForms are known at a time: the latest, as in Python.
const mostForms = 256

// form is what bodies have in common that differ in the numbers of their rows only: all before and
// after the rows, the rows' shape, and the type that the model wants. See
// serving/ports/native/forms.py, which learns them.
type form struct {
	id             uint16
	head           string
	prefix, suffix []byte
	shape          []int
	dtype          dtype
}

// dtype is a type of numbers that a model takes.
type dtype byte

const (
	noType dtype = iota
	float32Type
	float64Type
	int32Type
	int64Type
	uint8Type
)

// dtypes are those that can be read here, by numpy's names.
var dtypes = map[string]dtype{
	"float32": float32Type, "float64": float64Type, "int32": int32Type, "int64": int64Type,
	"uint8": uint8Type,
}

// formsOfHead are those of one method and path.
type formsOfHead []*form

// forms are those that Python has told of, by method and path. Reading takes no lock.
type forms struct {
	lock sync.Mutex
	// all of them, the oldest first.
	all   []*form
	known atomic.Pointer[map[string]formsOfHead]
}

func (f *forms) of(head string) formsOfHead {
	known := f.known.Load()
	if known == nil {
		return nil
	}
	return (*known)[head]
}

// add takes what Python tells: the head of the requests, and the rest in JSON.
func (f *forms) add(told frame) error {
	var rest struct {
		Prefix string `json:"prefix"`
		Suffix string `json:"suffix"`
		Shape  []int  `json:"shape"`
		Dtype  string `json:"dtype"`
	}
	if err := json.Unmarshal(told.content, &rest); err != nil {
		return fmt.Errorf("a form that is none: %w", err)
	}
	f.change(func(all []*form) []*form {
		all = append(all, &form{
			told.status, told.headText, []byte(rest.Prefix), []byte(rest.Suffix), rest.Shape,
			dtypes[rest.Dtype],
		})
		return all[max(0, len(all)-mostForms):]
	})
	return nil
}

// forget drops a form that Python does not know any more.
func (f *forms) forget(one *form) {
	f.change(func(all []*form) []*form {
		var left []*form
		for _, other := range all {
			if other != one {
				left = append(left, other)
			}
		}
		return left
	})
}

func (f *forms) change(change func([]*form) []*form) {
	f.lock.Lock()
	defer f.lock.Unlock()
	f.all = change(f.all)
	changed := map[string]formsOfHead{}
	for _, one := range f.all {
		// The latest first: it is the one that Python knows.
		changed[one.head] = append(formsOfHead{one}, changed[one.head]...)
	}
	f.known.Store(&changed)
}

// read returns the form that a body has and, appended to `rows`, its numbers; nil: none of these.
func (f formsOfHead) read(body, rows []byte) (*form, []byte) {
	for _, one := range f {
		if found, is := one.read(body, rows); is {
			return one, found
		}
		rows = rows[:0]
	}
	return nil, rows
}

// read appends the numbers of a body's rows as the model wants them. It is false for whatever Python
// would not read as such rows, and for the odd among them, such as NaN: Python reads those itself.
func (f *form) read(body, rows []byte) ([]byte, bool) {
	if len(body) < len(f.prefix)+len(f.suffix) || !bytes.HasPrefix(body, f.prefix) ||
		!bytes.HasSuffix(body, f.suffix) {
		return rows, false
	}
	reader := rowReader{text: body[len(f.prefix) : len(body)-len(f.suffix)], out: rows, dtype: f.dtype}
	for {
		if !reader.list(f.shape) {
			return reader.out, false
		}
		if reader.space(); reader.at == len(reader.text) {
			break
		}
		if !reader.take(',') {
			return reader.out, false
		}
	}
	return reader.out, len(reader.out) <= largeBytes
}
