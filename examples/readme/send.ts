import { add } from './tasks.ts'

const result = await add.delay(2, 3) // sent: the broker has it
console.log(result.id)
console.log(await result.get()) // 5, and TypeScript knows that it is a number
