// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build wasip1

package main

import (
	"strings"
	"unsafe"
)

// The functions of the proxy (proxy-wasm ABI 0.2.1) that the filter calls. A result of 0 is success.

//go:wasmimport env proxy_log
func proxyLog(level uint32, text unsafe.Pointer, length uint32) uint32

//go:wasmimport env proxy_get_property
func proxyGetProperty(path unsafe.Pointer, length uint32, value, valueLength unsafe.Pointer) uint32

//go:wasmimport env proxy_get_buffer_bytes
func proxyGetBufferBytes(buffer, start, length uint32, value, valueLength unsafe.Pointer) uint32

//go:wasmimport env proxy_set_buffer_bytes
func proxySetBufferBytes(buffer, start, length uint32, value unsafe.Pointer, valueLength uint32) uint32

//go:wasmimport env proxy_continue_stream
func proxyContinueStream(stream uint32) uint32

//go:wasmimport env proxy_close_stream
func proxyCloseStream(stream uint32) uint32

//go:wasmimport env proxy_set_effective_context
func proxySetEffectiveContext(context uint32) uint32

//go:wasmimport env proxy_set_tick_period_milliseconds
func proxySetTickPeriodMilliseconds(period uint32) uint32

// Levels of the log, buffers and streams of the ABI.
const (
	levelInfo  = 2
	levelWarn  = 3
	levelError = 4

	bufferDownstream    = 2
	bufferUpstream      = 3
	bufferConfiguration = 7

	streamDownstream = 2

	actionContinue = 0
	actionPause    = 1

	everything = 0x7fffffff
)

// granted is the memory that the proxy asked for last; the proxy fills it during a call of ours, and names it in the
// call's results. The garbage collector cannot see the proxy's pointer.
var granted []byte

//go:wasmexport proxy_on_memory_allocate
func onMemoryAllocate(length uint32) unsafe.Pointer {
	granted = make([]byte, max(length, 1))
	return unsafe.Pointer(unsafe.SliceData(granted))
}

// The proxy writes results through these: pointers have 32 bits for it.
var resultPointer, resultLength uint32

// result returns what a call gave, nil if it failed.
func result(status uint32) []byte {
	b := granted
	granted = nil
	if status != 0 || resultLength == 0 || int(resultLength) > len(b) || uint32(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) != resultPointer {
		return nil
	}
	return b[:resultLength]
}

func log(level uint32, text string) {
	// Nobody is left to tell when that fails.
	_ = proxyLog(level, unsafe.Pointer(unsafe.StringData(text)), uint32(len(text)))
}

func property(path ...string) string {
	joined := strings.Join(path, "\x00")
	return string(result(proxyGetProperty(unsafe.Pointer(unsafe.StringData(joined)), uint32(len(joined)), unsafe.Pointer(&resultPointer), unsafe.Pointer(&resultLength))))
}

func getBuffer(kind uint32, start, length int) []byte {
	return result(proxyGetBufferBytes(kind, uint32(start), uint32(length), unsafe.Pointer(&resultPointer), unsafe.Pointer(&resultLength)))
}

// setBuffer puts data in the place of length bytes at the beginning of a buffer.
func setBuffer(kind, length uint32, data []byte) bool {
	return proxySetBufferBytes(kind, 0, length, unsafe.Pointer(unsafe.SliceData(data)), uint32(len(data))) == 0
}

// buffer is one of the proxy's buffers during an event.
type buffer struct {
	kind   uint32
	length int
	// failed tells that the proxy did not give what it says it has: nothing that follows from the event counts.
	failed bool
}

func (b *buffer) Len() int { return b.length }

func (b *buffer) Bytes(offset, length int) []byte {
	if length == 0 {
		return nil
	}
	if part := getBuffer(b.kind, offset, length); len(part) == length {
		return part
	}
	b.failed = true
	return make([]byte, length)
}
