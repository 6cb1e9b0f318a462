module compare

go 1.19

require github.com/valyala/bytebufferpool v1.0.0
