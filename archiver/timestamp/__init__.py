"""Trusted time after RFC 3161: requests, answers, the way to a TSA.

Job: ask (:mod:`~archiver.timestamp.request`), fetch (:mod:`~archiver.timestamp.client`),
read and judge (:mod:`~archiver.timestamp.token`). Limits: knows no bags; what is
stamped are bytes.
"""
