// A proxy between an SDK and the service: it answers the first POST 503, loses the answer of the second, and forwards
// everything else.
//   node unreliable.mjs SERVICE
// prints {"listening": PORT}, then {"fault": "503"} and {"fault": "lost"}. Exits when its standard input closes.

import http from 'node:http'

const service = new URL(process.argv[2])
const faults = ['503', 'lost']
const report = (line) => console.log(JSON.stringify(line))

const server = http.createServer((request, response) => {
  const chunks = []
  request.on('data', (chunk) => chunks.push(chunk))
  request.on('end', () => {
    const fault = request.method === 'POST' ? faults.shift() : undefined
    if (fault) report({ fault })
    if (fault === '503') {
      const origin = request.headers.origin ?? '*'
      const headers = { 'access-control-allow-origin': origin, 'access-control-allow-credentials': 'true' }
      return response.writeHead(503, headers).end()
    }
    const { method, url: path, headers } = request
    const { hostname, port } = service
    const forwarded = http.request({ hostname, port, method, path, headers }, (answer) => {
      if (fault === 'lost') {
        answer.resume()
        return answer.on('end', () => request.socket.destroy())
      }
      response.writeHead(answer.statusCode, answer.headers)
      answer.pipe(response)
    })
    forwarded.on('error', () => request.socket.destroy())
    forwarded.end(Buffer.concat(chunks))
  })
})

server.listen(0, '127.0.0.1', () => report({ listening: server.address().port }))
process.stdin.resume()
process.stdin.on('end', () => process.exit(0))
