// Prints what the snippet says about each request: JSON in, two booleans out.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var request struct {
			Secret  string
			Headers map[string]string
			Body    []byte
		}
		if err := json.Unmarshal(lines.Bytes(), &request); err != nil {
			panic(err)
		}
		headers := http.Header{}
		for name, value := range request.Headers {
			headers.Set(name, value)
		}
		signature := headers.Get("x-signature")
		fmt.Println(Verify(request.Secret, headers, request.Body), VerifyX(request.Secret, signature, request.Body))
	}
}
