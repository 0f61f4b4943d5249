/** Vite's types, which Vitest's need, name the browser's WebSocket; @types/node 20 has none. */
interface WebSocket {
  readonly url: string
}
