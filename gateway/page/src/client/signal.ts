/** Something has changed: one loop waits for it, anybody says it. */
export class Signal {
  private said = false;
  private wake: (() => void) | undefined;

  set(): void {
    this.said = true;
    this.wake?.();
  }

  /** Returns once it was said since the last wait, or after `ms`. */
  async wait(ms = Infinity): Promise<void> {
    if (!this.said) {
      await new Promise<void>((resolve) => {
        const timer = ms === Infinity ? undefined : setTimeout(resolve, ms);
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.said = false;
    this.wake = undefined;
  }
}
