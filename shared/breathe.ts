/** Lets others have a turn of the event loop: between two pieces of work that take milliseconds each. */
export const breathe = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
