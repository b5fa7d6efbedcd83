/** The version of both programs; the same as in package.json, which a test compares. */
export const VERSION = '0.1.0';
/** As files that a program makes name their maker. */
export const GENERATOR = `qfl ${VERSION}`;
