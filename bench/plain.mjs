// @ts-check
// What the machine gives at the moment: 5 ms of CPU after 5 ms of CPU, without any queue. Two of these beside each other are the ideal of the `cpu` row.
import { mark, spin } from './marks.mjs'

for (let left = Number(process.argv[2]); left > 0; left--) {
  spin(5)
  mark()
  // Marks are written by a timer.
  await new Promise((resolve) => setImmediate(resolve))
}
