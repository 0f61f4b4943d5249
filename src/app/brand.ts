/**
 * Marks an app. The symbol is the same in every copy of celeriac that one process has loaded, so that a worker recognizes an app whose project brought
 * its own copy; `instanceof` would not.
 */
export const appBrand: unique symbol = Symbol.for('celeriac.app')
