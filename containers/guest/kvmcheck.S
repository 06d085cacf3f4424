/* SPDX-FileCopyrightText: The kbtf-ci authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The smallest guest that shows whether KVM runs a 64-bit kernel: a flat multiboot image that goes from
 * protected mode through paging into long mode, as a kernel does, and says so by ending QEMU through its
 * isa-debug-exit device (status 33). A KVM that cannot hangs, aborts or stops QEMU before that.
 */
	.set	BASE, 0x100000
	.set	MAGIC, 0x1badb002
	.set	FLAGS, 0x10000		/* the load addresses below are valid */

	.text
	.globl	_start
	.code32
header:
	.long	MAGIC, FLAGS, -(MAGIC + FLAGS)
	.long	header, header, image_end, bss_end, _start

_start:
	movl	$tables, %edi
	leal	0x1003(%edi), %eax	/* one 1 GiB identity map of 2 MiB pages */
	movl	%eax, (%edi)
	leal	0x2003(%edi), %eax
	movl	%eax, 0x1000(%edi)
	xorl	%ecx, %ecx
1:	movl	%ecx, %eax
	shll	$21, %eax
	orl	$0x83, %eax
	movl	%eax, 0x2000(%edi, %ecx, 8)
	incl	%ecx
	cmpl	$512, %ecx
	jne	1b
	movl	%edi, %cr3
	movl	$0x20, %eax		/* CR4.PAE */
	movl	%eax, %cr4
	movl	$0xc0000080, %ecx	/* EFER.LME, SCE */
	movl	$0x101, %eax
	xorl	%edx, %edx
	wrmsr
	movl	%cr0, %eax
	orl	$0x80000001, %eax
	movl	%eax, %cr0
	lgdt	gdt_pointer
	ljmp	$8, $long_mode

	.code64
long_mode:
	movl	$0xc0000101, %ecx	/* GS.base, which every kernel sets for its per-CPU data */
	movl	$BASE, %eax
	xorl	%edx, %edx
	wrmsr
	movq	%gs:0, %rax
	cmpl	$MAGIC, %eax
	jne	halt
	movw	$0x501, %dx
	movb	$16, %al
	outb	%al, %dx
halt:	hlt
	jmp	halt

	.balign	8
gdt:	.quad	0, 0x00af9a000000ffff
gdt_pointer:
	.word	15
	.long	gdt
image_end:
	.balign	4096
	.set	tables, .
	.set	bss_end, . + 0x3000
