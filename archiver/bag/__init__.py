"""Bags as RFC 8493 defines them.

``model`` holds the values, ``read`` the parsers, ``names`` the rules for
paths, ``tree`` and ``archive`` give access to a bag's files, ``ledger`` joins
the manifests, ``validate`` checks a bag; ``plan``, ``stage``, ``sidecar`` and
``write`` make one; ``reference`` asks the Library of Congress library.
"""
