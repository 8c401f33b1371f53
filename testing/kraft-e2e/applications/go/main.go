// A web server that asks itself: net/http as server and as client, with goroutines.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"sync"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "hello from go\n")
	})
	http.HandleFunc("/fan", func(w http.ResponseWriter, r *http.Request) {
		var group sync.WaitGroup
		answers := make(chan string, 50)
		for i := 0; i < cap(answers); i++ {
			group.Add(1)
			go func() {
				defer group.Done()
				response, err := http.Get("http://127.0.0.1:8080/")
				if err != nil {
					log.Print(err)
					return
				}
				defer response.Body.Close()
				body, _ := io.ReadAll(response.Body)
				answers <- string(body)
			}()
		}
		group.Wait()
		close(answers)
		right := 0
		for answer := range answers {
			if answer == "hello from go\n" {
				right++
			}
		}
		fmt.Fprintf(w, "%d right answers\n", right)
	})
	log.Fatal(http.ListenAndServe(":8080", nil))
}
