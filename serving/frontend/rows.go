package main

import (
	"encoding/binary"
	"math"
	"strconv"
)

// rowReader reads numbers in JSON, in lists of known lengths.
type rowReader struct {
	text  []byte
	at    int
	out   []byte
	dtype dtype
}

func (r *rowReader) space() {
	// Most often there is none, or one character.
	for r.at < len(r.text) && r.text[r.at] <= ' ' && isSpace(r.text[r.at]) {
		r.at++
	}
}

func isSpace(char byte) bool {
	return char == ' ' || char == '\t' || char == '\n' || char == '\r'
}

// take passes over a character that has to come next.
func (r *rowReader) take(char byte) bool {
	r.space()
	if r.at < len(r.text) && r.text[r.at] == char {
		r.at++
		return true
	}
	return false
}

// list reads a list of lists of this shape; a number, if that is empty.
func (r *rowReader) list(shape []int) bool {
	if len(shape) == 0 {
		r.space()
		return r.number()
	}
	if !r.take('[') {
		return false
	}
	for at := range shape[0] {
		if at > 0 && !r.take(',') {
			return false
		}
		if len(shape) > 1 {
			if !r.list(shape[1:]) {
				return false
			}
		} else if r.space(); !r.number() {
			return false
		}
	}
	return r.take(']')
}

// exactPowers of ten are those that a double holds as they are.
var exactPowers = [...]float64{
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17,
	1e18, 1e19, 1e20, 1e21, 1e22,
}

const (
	// mostDigits always fit into 64 bits.
	mostDigits = 18
	// mostExact is the largest mantissa that a double holds as it is.
	mostExact = 1 << 53
)

// number reads one number by JSON's grammar, and appends it.
func (r *rowReader) number() bool {
	text, start, at := r.text, r.at, r.at
	negative := at < len(text) && text[at] == '-'
	if negative {
		at++
	}
	mantissa, first := uint64(0), at
	for at < len(text) && isDigit(text[at]) {
		mantissa = mantissa*10 + uint64(text[at]-'0')
		at++
	}
	digits, exponent, whole := at-first, 0, true
	if digits == 0 || digits > 1 && text[first] == '0' {
		return false
	}
	if at < len(text) && text[at] == '.' {
		whole = false
		at++
		first = at
		for at < len(text) && isDigit(text[at]) {
			mantissa = mantissa*10 + uint64(text[at]-'0')
			at++
		}
		if at == first {
			return false
		}
		exponent = first - at
		digits += at - first
	}
	if at < len(text) && text[at]|0x20 == 'e' {
		whole = false
		at++
		sign := 1
		if at < len(text) && (text[at] == '-' || text[at] == '+') {
			if text[at] == '-' {
				sign = -1
			}
			at++
		}
		first, power := at, 0
		for at < len(text) && isDigit(text[at]) && at-first < 5 {
			power = power*10 + int(text[at]-'0')
			at++
		}
		if at == first || at < len(text) && isDigit(text[at]) {
			return false
		}
		exponent += sign * power
	}
	r.at = at
	if whole {
		return digits <= mostDigits && r.whole(int64(mantissa), negative)
	}
	var value float64
	switch {
	case digits > mostDigits || mantissa > mostExact || exponent < -22 || exponent > 22:
		var err error
		if value, err = strconv.ParseFloat(string(text[start:at]), 64); err != nil {
			return false
		}
		return r.float(value)
	case exponent < 0:
		value = float64(mantissa) / exactPowers[-exponent]
	default:
		value = float64(mantissa) * exactPowers[exponent]
	}
	if negative {
		value = -value
	}
	return r.float(value)
}

// whole appends a number that has neither a point nor an exponent.
func (r *rowReader) whole(value int64, negative bool) bool {
	if negative {
		value = -value
	}
	switch r.dtype {
	case int32Type:
		if value < math.MinInt32 || value > math.MaxInt32 {
			return false
		}
		r.out = binary.LittleEndian.AppendUint32(r.out, uint32(value))
	case int64Type:
		r.out = binary.LittleEndian.AppendUint64(r.out, uint64(value))
	case uint8Type:
		if value < 0 || value > math.MaxUint8 {
			return false
		}
		r.out = append(r.out, byte(value))
	default:
		return r.float(float64(value))
	}
	return true
}

// float appends a number by way of a double, as Python does; too large a one becomes infinite.
func (r *rowReader) float(value float64) bool {
	switch r.dtype {
	case float32Type:
		r.out = binary.LittleEndian.AppendUint32(r.out, math.Float32bits(float32(value)))
	case float64Type:
		r.out = binary.LittleEndian.AppendUint64(r.out, math.Float64bits(value))
	default:
		return false
	}
	return true
}
