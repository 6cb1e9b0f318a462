// valyala/bytebufferpool at the same work as the rows of the group `go` in benches/compare, which runs this if there is
// a Go: `go test -bench . -cpu 1,2 -count 5`.
package compare

import (
	"testing"

	"github.com/valyala/bytebufferpool"
)

var piece = []byte(" key=value-0123456789")

func logLine(pool *bytebufferpool.Pool) {
	buf := pool.Get()
	for i := 0; i < 10; i++ {
		buf.Write(piece)
	}
	pool.Put(buf)
}

func BenchmarkGetPut(b *testing.B) {
	var pool bytebufferpool.Pool
	for i := 0; i < b.N; i++ {
		pool.Put(pool.Get())
	}
}

func BenchmarkLogLine(b *testing.B) {
	var pool bytebufferpool.Pool
	for i := 0; i < b.N; i++ {
		logLine(&pool)
	}
}

// The time of all threads together, as in the group `parallel`.
func BenchmarkLogLineParallel(b *testing.B) {
	var pool bytebufferpool.Pool
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			logLine(&pool)
		}
	})
}
