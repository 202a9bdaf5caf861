package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand"
	"strconv"
	"strings"
	"testing"
)

func read(t *testing.T, dtype string, shape []int, body string) ([]byte, bool) {
	t.Helper()
	one := &form{prefix: []byte(`{"instances": [`), suffix: []byte("]}"), shape: shape, dtype: dtypes[dtype]}
	return one.read([]byte(body), nil)
}

func body(numbers ...string) string {
	return `{"instances": [[` + strings.Join(numbers, ", ") + "]]}"
}

func TestNumbersAreReadAsByTheLibrary(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	texts := []string{
		"0", "-0", "-0.0", "1", "-1", "0.1", "1e5", "1E+5", "1e-5", "123456789.25e-3", "4.9e-324", "1e-400",
		"1.7976931348623157e308", "9007199254740993.0", "0.30000000000000004", "123456789012345678",
		"3.4028235677973366e38", "16777217", "1e22", "1e23", "8.5e-23", "0.000000000000000000000000001",
	}
	for range 20000 {
		value := math.Float64frombits(random.Uint64())
		if math.IsNaN(value) || math.IsInf(value, 0) {
			continue
		}
		texts = append(texts,
			strconv.FormatFloat(value, 'e', -1, 64),
			strconv.FormatFloat(random.NormFloat64(), 'f', random.Intn(20), 64),
			strconv.FormatInt(int64(random.Uint64())>>random.Intn(64), 10),
		)
	}
	for _, text := range texts {
		wanted, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatal(err)
		}
		if text == "-0" {
			wanted = 0 // A whole number.
		}
		got, is := read(t, "float64", []int{1}, body(text))
		if !is {
			if digits := strings.TrimPrefix(text, "-"); len(digits) > mostDigits && !strings.ContainsAny(text, ".e") {
				continue // Python reads it.
			}
			t.Fatalf("%s is refused", text)
		}
		if bits := binary.LittleEndian.Uint64(got); bits != math.Float64bits(wanted) {
			t.Fatalf("%s: %v", text, math.Float64frombits(bits))
		}
		got, _ = read(t, "float32", []int{1}, body(text))
		if bits := binary.LittleEndian.Uint32(got); bits != math.Float32bits(float32(wanted)) {
			t.Fatalf("%s: %v", text, math.Float32frombits(bits))
		}
	}
}

func TestWhatIsNoNumberOfTheTypeIsLeftToPython(t *testing.T) {
	for _, text := range []string{
		"", "+1", "01", "-01", ".5", "1.", "1.e5", "1e", "1e+", "e5", "0x1", "1_0", "NaN", "Infinity", "-",
		"null", "true", `"1"`, "1 2", "[1]", "{}", "1e400", "-1e400", "1e100000", "١", "1\x00",
		"1234567890123456789", "1,", ",1", "1,2",
	} {
		if _, is := read(t, "float32", []int{1}, body(text)); is {
			t.Errorf("%q is read", text)
		}
	}
	for dtype, texts := range map[string][]string{
		"int32": {"1.0", "1e0", "2147483648", "-2147483649"},
		"int64": {"1.0", "1e0", "9223372036854775807"},
		"uint8": {"1.0", "256", "-1"},
		"int16": {"1"},
	} {
		for _, text := range texts {
			if _, is := read(t, dtype, []int{1}, body(text)); is {
				t.Errorf("%s %q is read", dtype, text)
			}
		}
	}
}

func TestWholeNumbersKeepTheirType(t *testing.T) {
	numbers := []string{"0", "-0", "127", "255"}
	for dtype, wanted := range map[string]any{
		"int32":   []int32{0, 0, 127, 255},
		"int64":   []int64{0, 0, 127, 255},
		"uint8":   []uint8{0, 0, 127, 255},
		"float32": []float32{0, 0, 127, 255},
	} {
		var expected bytes.Buffer
		binary.Write(&expected, binary.LittleEndian, wanted)
		if got, is := read(t, dtype, []int{4}, body(numbers...)); !is || !bytes.Equal(got, expected.Bytes()) {
			t.Errorf("%s: %v %v", dtype, got, is)
		}
	}
}

func TestListsHaveTheShapeOrAreLeftToPython(t *testing.T) {
	for text, wanted := range map[string]bool{
		`[[1,2],[3,4]]`: true,
		` [ [1 , 2]	,[3,4 ] ] , [[5,6],[7,8]]` + "\r\n": true,
		`[[1,2],[3]]`:                false,
		`[[1,2],[3,4],[5,6]]`:        false,
		`[[1,2]]`:                    false,
		`[1,2,3,4]`:                  false,
		`[[1,2],[3,4]],`:             false,
		`,[[1,2],[3,4]]`:             false,
		`[[1,2],[3,4]][[5,6],[7,8]]`: false,
		`[[1,2],[3,4]]]`:             false,
		`[[1,2],[3,4]], []`:          false,
		`[[[1,2],[3,4]]]`:            false,
		`[[1,2],[3,4]]}`:             false,
		``:                           false,
	} {
		_, is := read(t, "float32", []int{2, 2}, `{"instances": [`+text+`]}`)
		if is != wanted {
			t.Errorf("%q: %v", text, is)
		}
	}
	if got, is := read(t, "uint8", nil, `{"instances": [1, 2,3]}`); !is || !bytes.Equal(got, []byte{1, 2, 3}) {
		t.Errorf("%v %v", got, is)
	}
	if _, is := read(t, "uint8", nil, `{"inputs": [1, 2,3]}`); is {
		t.Error("it begins otherwise")
	}
	if _, is := read(t, "uint8", nil, `{"instances": [1, 2,3`); is {
		t.Error("it ends otherwise")
	}
}

// What this reads is what JSON's own reader reads.
func FuzzRows(f *testing.F) {
	f.Add(`[[1, 2.5], [-3e2, 4]]`)
	f.Add(`[[1,2],[3,4]], [[0,0],[0,1e-9]]`)
	one := &form{prefix: []byte(`{"instances": [`), suffix: []byte("]}"), shape: []int{2, 2}, dtype: float64Type}
	f.Fuzz(func(t *testing.T, rows string) {
		text := []byte(`{"instances": [` + rows + `]}`)
		got, is := one.read(text, nil)
		if !is {
			return
		}
		var document struct {
			Instances [][2][2]float64 `json:"instances"`
		}
		if err := json.Unmarshal(text, &document); err != nil {
			t.Fatalf("%q is no JSON: %v", rows, err)
		}
		var wanted bytes.Buffer
		binary.Write(&wanted, binary.LittleEndian, document.Instances)
		if bytes.Equal(got, wanted.Bytes()) {
			return
		}
		for at := 0; at < len(got); at += 8 {
			a := math.Float64frombits(binary.LittleEndian.Uint64(got[at:]))
			b := math.Float64frombits(binary.LittleEndian.Uint64(wanted.Bytes()[at:]))
			if a != b { // Zeros may differ in sign.
				t.Fatalf("%q: %v", rows, got)
			}
		}
	})
}

func told(id uint16, head, prefix string) frame {
	content := fmt.Sprintf(`{"prefix": %q, "suffix": "]}", "shape": [1], "dtype": "uint8"}`, prefix)
	return frame{header: header{kind: kindForm, status: id}, headText: head, content: []byte(content)}
}

func TestFormsAreKnownUntilPythonHasForgottenThem(t *testing.T) {
	var known forms
	if known.of("POST /a") != nil {
		t.Fatal("nothing was told")
	}
	known.add(told(1, "POST /a", `{"instances": [`))
	known.add(told(2, "POST /a", `{"inputs": [`))
	known.add(told(3, "POST /b", `{"instances": [`))
	found, rows := known.of("POST /a").read([]byte(`{"inputs": [[7]]}`), nil)
	if found == nil || found.id != 2 || !bytes.Equal(rows, []byte{7}) {
		t.Fatalf("%+v %v", found, rows)
	}
	if found, _ := known.of("POST /b").read([]byte(`{"inputs": [[7]]}`), nil); found != nil {
		t.Fatal("that is of another path")
	}
	known.forget(found)
	if found, _ := known.of("POST /a").read([]byte(`{"inputs": [[7]]}`), nil); found != nil {
		t.Fatal("it was forgotten")
	}
	for id := range uint16(mostForms) {
		known.add(told(id+10, "POST /c", `{"instances": [`+strings.Repeat(" ", int(id))))
	}
	if known.of("POST /b") != nil || len(known.of("POST /c")) != mostForms {
		t.Fatal("with too many, the oldest are forgotten")
	}
	if err := known.add(frame{content: []byte("no JSON")}); err == nil {
		t.Fatal("that is none")
	}
}

func BenchmarkRow(b *testing.B) {
	random := rand.New(rand.NewSource(1))
	numbers := make([]string, 784)
	for at := range numbers {
		numbers[at] = strconv.FormatFloat(random.Float64(), 'f', 3, 64)
	}
	text := []byte(body(numbers...))
	one := &form{prefix: []byte(`{"instances": [`), suffix: []byte("]}"), shape: []int{784}, dtype: float32Type}
	var rows []byte
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		var is bool
		if rows, is = one.read(text, rows[:0]); !is {
			b.Fatal("refused")
		}
	}
}
