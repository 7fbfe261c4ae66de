import type { TransportParts } from '@virtkit/core';
import { bringUpCases } from './bring-up.ts';
import type { Case } from './case.ts';
import { configCases } from './config.ts';
import type { Context } from './context.ts';
import { interruptCases } from './interrupts.ts';
import { ioCases } from './io.ts';
import { moveCases } from './move.ts';
import { refuseCases } from './refuse.ts';

/** Lists every case that one device type on one transport with one way to use rings has to pass. */
export function allCases<H, T extends TransportParts, D>(context: Context<H, T, D>): Case[] {
  return [
    ...bringUpCases(context),
    ...ioCases(context),
    ...configCases(context),
    ...interruptCases(context),
    ...moveCases(context),
    ...refuseCases(context),
  ];
}
