import { testBackend } from '../conformance/backend.js'
import { useRedis } from './redis-server.js'

const server = useRedis()
const expiresByItself = 'Redis removes what has expired by itself, and counts nothing'

testBackend({
  name: 'redis',
  open: async (clock) => ({
    backend: async () => server.backend({ clock }),
    pass: (ms) => server.pass(ms),
    dispose: async () => undefined,
  }),
  gaps: {
    'cleanup counts what has expired, and leaves the rest': expiresByItself,
    'cleanup counts all that has expired, among any number that has not': expiresByItself,
  },
})
